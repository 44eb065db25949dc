"""A DataLoader whose batches are on this rank's device. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler, SequentialSampler

from ._run import notice
from ._tensors import to_device

__all__ = ["DeviceLoader", "shared"]


class DeviceLoader(DataLoader):
    """The loader it was made of, by all its attributes: `.sampler` and `.dataset` are the same objects."""

    def __init__(self, loader: Any, device: Any, non_blocking: bool) -> None:
        # Its own __init__ would make another sampler.
        self.__dict__.update(loader.__dict__)
        self._fabric_parts = (loader, device, non_blocking and device.type == "cuda")

    def __iter__(self) -> Iterator[Any]:
        loader, device, non_blocking = self._fabric_parts
        for batch in loader:
            yield to_device(batch, device, non_blocking=non_blocking)

    def __len__(self) -> int:
        return len(self._fabric_parts[0])


def shared(loader: Any, rank: int, world: int) -> Any:
    """The same loader over this rank's part of the dataset; shuffled where it was."""
    sampler = loader.sampler
    if world == 1 or isinstance(sampler, DistributedSampler) or isinstance(loader.dataset, IterableDataset):
        return loader
    if loader.batch_size is None or type(loader.batch_sampler).__name__ != "BatchSampler":
        notice("prepare_data_loader leaves a loader with a batch_sampler of its own as it is: every rank reads it all")
        return loader
    if not isinstance(sampler, (SequentialSampler, RandomSampler)) and rank == 0:
        notice(f"prepare_data_loader replaces the {type(sampler).__name__} by a DistributedSampler")
    split = DistributedSampler(
        loader.dataset, num_replicas=world, rank=rank, shuffle=not isinstance(sampler, SequentialSampler)
    )
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=split,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        multiprocessing_context=loader.multiprocessing_context,
    )
