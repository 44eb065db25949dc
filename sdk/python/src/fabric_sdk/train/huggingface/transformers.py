"""Training with transformers' own Trainer."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from .._data import Batches
from .._report import report

__all__ = ["RayTrainReportCallback", "prepare_trainer"]

_missing: ImportError | None = None
try:
    from transformers import TrainerCallback
except ImportError as error:  # the caller of fit() need not have it
    _missing = error
    TrainerCallback = object


class RayTrainReportCallback(TrainerCallback):
    """Reports what the Trainer logged, with the checkpoint that it just saved, as `checkpoint/`."""

    CHECKPOINT_NAME = "checkpoint"

    def __init__(self) -> None:
        _needed()
        super().__init__()

    def on_save(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        """Called on every rank after a checkpoint was saved below `args.output_dir`."""
        from transformers.trainer_utils import get_last_checkpoint

        from ...checkpoint import Checkpoint

        metrics: dict[str, Any] = {}
        for logged in state.log_history:
            metrics.update(logged)
        saved = get_last_checkpoint(args.output_dir)
        if saved is None:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(saved, os.path.join(folder, self.CHECKPOINT_NAME), copy_function=_link)
            report(metrics, checkpoint=Checkpoint.from_directory(folder))


def prepare_trainer(trainer: Any) -> Any:
    """Lets a Trainer read batches of `get_dataset_shard(...).iter_torch_batches(...)` as they are."""
    _needed()
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset):
        def __init__(self, batches: Batches) -> None:
            self._batches = batches

        def __iter__(self) -> Any:
            return iter(self._batches)

    def loader(batches: Batches) -> Any:
        return DataLoader(Stream(batches), batch_size=1, collate_fn=lambda several: several[0])

    class Prepared(trainer.__class__):
        def get_train_dataloader(self) -> Any:
            if isinstance(self.train_dataset, Batches):
                return loader(self.train_dataset)
            return super().get_train_dataloader()

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            chosen = self.eval_dataset if eval_dataset is None else eval_dataset
            if isinstance(chosen, str) and isinstance(self.eval_dataset, dict):
                chosen = self.eval_dataset[chosen]
            return loader(chosen) if isinstance(chosen, Batches) else super().get_eval_dataloader(eval_dataset)

    trainer.__class__ = Prepared
    return trainer


def _needed() -> None:
    if _missing is not None:
        raise _missing


def _link(source: str, target: str) -> None:
    """The report copies anyhow: a second copy of a large model is spared where both folders are on one disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
