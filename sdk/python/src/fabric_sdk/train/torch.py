"""Training with PyTorch. Imports it only where it is used: the caller of fit() need not have it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, NoReturn

from ..errors import InvalidError
from ._configs import BackendConfig, DataConfig, RunConfig, ScalingConfig
from ._context import get_context
from .data_parallel_trainer import DataParallelTrainer

__all__ = [
    "TorchConfig",
    "TorchTrainer",
    "accelerate",
    "backward",
    "enable_reproducibility",
    "get_device",
    "get_devices",
    "preflight",
    "prepare_data_loader",
    "prepare_model",
    "prepare_optimizer",
]

_PREFLIGHT_S = 30.0
#: Of the ones that functions ask for: each has keys of its own in the store.
_preflights = itertools.count()


@dataclass
class TorchConfig(BackendConfig):
    """The process group that the ranks are in while the loop runs. `backend` is nccl with GPUs, gloo without.

    With `preflight`, which Ray does not have, the ranks first meet and all-reduce within so many seconds (True: 30):
    who is not there, and by which interfaces the others are, is told then instead of after `timeout_s`."""

    backend: str | None = None
    init_method: str = "env"
    timeout_s: int = 1800
    preflight: float | bool = False

    def __post_init__(self) -> None:
        _check_preflight(self.preflight)
        if self.init_method not in ("env", "tcp"):
            raise InvalidError(f'init_method is {self.init_method!r}; it must be "env" or "tcp"', code="bad_request")

    @contextmanager
    def group(self, scaling: ScalingConfig) -> Iterator[None]:
        """Joined before the loop and left after it. One rank without torch has no group to be in."""
        if importlib.util.find_spec("torch") is None:
            if scaling.num_workers != 1:
                raise InvalidError(
                    f"{scaling.num_workers} ranks need torch, which the image does not have", code="bad_request"
                )
            yield
            return
        import torch

        device = get_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
        _join(self, self.backend or ("nccl" if scaling.use_gpu else "gloo"))
        try:
            yield
        except BaseException:
            # The others would hear of a broken connection, and be told as the cause, before this exception is told.
            if get_context().get_world_size() == 1:
                torch.distributed.destroy_process_group()
            raise
        torch.distributed.destroy_process_group()


class TorchTrainer(DataParallelTrainer):
    """Trains with PyTorch: the ranks are in a process group, each with its device."""

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Any] | None = None,
        dataset_config: DataConfig | None = None,
        validation_config: Any = None,
        metadata: Any = None,
        resume_from_checkpoint: Any = None,
    ) -> None:
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=torch_config or TorchConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            validation_config=validation_config,
            metadata=metadata,
            resume_from_checkpoint=resume_from_checkpoint,
        )

    def in_container(self) -> Callable[[DataParallelTrainer], dict[str, Any]]:
        """See DataParallelTrainer."""
        from ._torch_place import train

        return train


def get_device() -> Any:
    """This rank's torch.device; the first of them where it has several."""
    return get_devices()[0]


def get_devices() -> list[Any]:
    """The container's GPUs, shared out among its ranks in order; the CPU where it has none."""
    import torch

    context = get_context()
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there == 0:
        return [torch.device("cpu")]
    each = max(1, there // context.get_local_world_size())
    first = context.get_local_rank() * each
    if first + each > there:
        raise InvalidError(
            f"local rank {context.get_local_rank()} of {context.get_local_world_size()} has no GPU: the container has"
            f" {there}",
            code="bad_request",
        )
    return [torch.device(f"cuda:{index}") for index in range(first, first + each)]


def prepare_model(
    model: Any,
    move_to_device: Any = True,
    parallel_strategy: str | None = "ddp",
    parallel_strategy_kwargs: dict[str, Any] | None = None,
) -> Any:
    """The model on this rank's device, or the given one; among several ranks wrapped for them."""
    import torch

    if parallel_strategy not in ("ddp", "fsdp", None):
        raise InvalidError(
            f'parallel_strategy is {parallel_strategy!r}; it must be "ddp", "fsdp" or None', code="bad_request"
        )
    device = move_to_device if isinstance(move_to_device, torch.device) else get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if move_to_device:
        model = model.to(device)
    if parallel_strategy is None or get_context().get_world_size() == 1:
        return model
    given = dict(parallel_strategy_kwargs or {})
    if parallel_strategy == "ddp":
        if device.type == "cuda":
            given = {"device_ids": [device], "output_device": device, **given}
        return torch.nn.parallel.DistributedDataParallel(model, **given)
    if device.type != "cuda":
        raise InvalidError('parallel_strategy="fsdp" needs GPUs: ScalingConfig(use_gpu=True)', code="bad_request")
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(model, **given)


def prepare_data_loader(
    data_loader: Any, add_dist_sampler: bool = True, move_to_device: bool = True, auto_transfer: bool = True
) -> Any:
    """The loader over this rank's part of the data (`loader.sampler.set_epoch(n)` shuffles it anew), its batches on
    this rank's device; with `auto_transfer` pinned batches are copied while the GPU computes."""
    from ._loader import DeviceLoader, shared

    context = get_context()
    if add_dist_sampler:
        data_loader = shared(data_loader, context.get_world_rank(), context.get_world_size())
    return DeviceLoader(data_loader, get_device(), auto_transfer) if move_to_device else data_loader


def enable_reproducibility(seed: int = 0) -> None:
    """Seeds Python, numpy and torch, and lets torch compute in one order only."""
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError:
        pass  # what is not there draws no numbers
    else:
        numpy.random.seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def preflight(timeout_s: float = 30.0) -> None:
    """In a gang without a trainer, after `init_process_group`: raises PreflightError, which names the ranks that are
    missing, unless all of them sum up ones within `timeout_s`. Every rank has to call it."""
    from torch import distributed
    from torch.distributed import distributed_c10d

    from . import _preflight

    _check_preflight(timeout_s)
    if not distributed.is_initialized():
        raise InvalidError(
            "preflight() needs a process group; call init_process_group() first, or use TorchConfig(preflight=True)",
            code="bad_request",
        )
    at = _preflight.Meeting(distributed.get_rank(), distributed.get_world_size(), timeout_s)
    if at.world == 1:
        return
    count = next(_preflights)
    store = distributed.PrefixStore(f"fabric-preflight-{count}", distributed_c10d._get_default_store())
    places = _preflight.arrive(at, store)
    group = distributed.new_group(timeout=at.limit)
    _preflight.all_reduce(at, places, group)
    distributed.destroy_process_group(group)


def accelerate(amp: bool = False) -> NoReturn:
    """Deprecated by Ray."""
    raise _deprecated("accelerate")


def prepare_optimizer(optimizer: Any) -> NoReturn:
    """Deprecated by Ray."""
    raise _deprecated("prepare_optimizer")


def backward(tensor: Any) -> NoReturn:
    """Deprecated by Ray."""
    raise _deprecated("backward")


def _deprecated(name: str) -> InvalidError:
    return InvalidError(
        f"{name}() is deprecated in Ray Train and not available in fabric; use torch.amp", code="bad_request"
    )


def _check_preflight(preflight: float | bool) -> None:
    if isinstance(preflight, (int, float)) and 0 <= preflight <= 3600:
        return
    raise InvalidError(f"preflight is {preflight!r}; it must be True, False, or seconds up to 3600", code="bad_request")


def _fly(config: TorchConfig, backend: str, rank: int, world: int) -> Any:
    """The store for the group that may be made now: another one has been tried."""
    from datetime import timedelta

    from torch import distributed

    from . import _preflight

    seconds = _PREFLIGHT_S if config.preflight is True else float(config.preflight)
    at = _preflight.Meeting(rank, world, seconds)
    store = _preflight.meeting(at)
    places = _preflight.arrive(at, store)
    _preflight.connect(at, backend, store, places)
    _preflight.all_reduce(at, places)
    distributed.destroy_process_group()
    store.set_timeout(timedelta(seconds=config.timeout_s))
    return distributed.PrefixStore("train", store)


def _join(config: TorchConfig, backend: str) -> None:
    from datetime import timedelta

    from torch import distributed

    context = get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    limit = timedelta(seconds=config.timeout_s)
    if world == 1:
        # nobody to meet: no address, no port, and in a container without network only the loopback
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1, timeout=limit)
        return
    os.environ.setdefault("USE_LIBUV", "0")  # Debian's torch is built without it
    if config.preflight:
        store = _fly(config, backend, rank, world)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
        return
    address = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    method = "env://" if config.init_method == "env" else address
    distributed.init_process_group(backend, init_method=method, rank=rank, world_size=world, timeout=limit)
