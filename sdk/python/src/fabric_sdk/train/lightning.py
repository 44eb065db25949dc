"""Training with Lightning's own Trainer. Imports it."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ..checkpoint import Checkpoint
from ._context import get_context
from ._report import CheckpointUploadMode, report
from .torch import get_device

try:
    import lightning.pytorch as pl
    from lightning.pytorch.plugins.environments import LightningEnvironment
except ModuleNotFoundError:
    try:
        import pytorch_lightning as pl
        from pytorch_lightning.plugins.environments import LightningEnvironment
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("fabric_sdk.train.lightning needs Lightning: pip install lightning") from error

__all__ = [
    "RayDDPStrategy",
    "RayDeepSpeedStrategy",
    "RayFSDPStrategy",
    "RayLightningEnvironment",
    "RayTrainReportCallback",
    "prepare_trainer",
]


class _OfThisRank:
    """What a strategy asks its own launcher otherwise."""

    global_rank: int
    world_size: int

    @property
    def root_device(self) -> Any:
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        return {"num_replicas": self.world_size, "rank": self.global_rank}


class RayDDPStrategy(_OfThisRank, pl.strategies.DDPStrategy):
    """DDP in the process group that the trainer made."""


class RayFSDPStrategy(_OfThisRank, pl.strategies.FSDPStrategy):
    """FSDP in the process group that the trainer made."""


class RayDeepSpeedStrategy(_OfThisRank, pl.strategies.DeepSpeedStrategy):
    """DeepSpeed in the process group that the trainer made."""


class RayLightningEnvironment(LightningEnvironment):
    """Tells Lightning the ranks, which are there already."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return get_context().get_world_size()

    def global_rank(self) -> int:
        return get_context().get_world_rank()

    def local_rank(self) -> int:
        return get_context().get_local_rank()

    def node_rank(self) -> int:
        return get_context().get_node_rank()

    def set_world_size(self, size: int) -> None:
        """It is fixed."""

    def set_global_rank(self, rank: int) -> None:
        """It is fixed."""

    def teardown(self) -> None:
        """The trainer leaves the group."""


def prepare_trainer(trainer: Any) -> Any:
    """Checks that its strategy and environment are of this module."""
    kinds = (RayDDPStrategy, RayFSDPStrategy, RayDeepSpeedStrategy)
    if not isinstance(trainer.strategy, kinds):
        raise RuntimeError(
            f"the strategy is a {type(trainer.strategy).__name__}; it must be one of"
            f" {', '.join(kind.__name__ for kind in kinds)}"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment and not isinstance(environment, RayLightningEnvironment):
        raise RuntimeError(
            f"the environment is a {type(environment).__name__}; give Trainer(plugins=[RayLightningEnvironment()])"
        )
    return trainer


class RayTrainReportCallback(pl.callbacks.Callback):
    """Reports metrics and a checkpoint (`checkpoint.ckpt`) at the end of every training epoch."""

    CHECKPOINT_NAME = "checkpoint.ckpt"

    def __init__(
        self, checkpoint_upload_mode: CheckpointUploadMode = CheckpointUploadMode.SYNC, validation: Any = False
    ) -> None:
        super().__init__()
        self._mode = checkpoint_upload_mode
        self._validation = validation

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        metrics.update(epoch=trainer.current_epoch, step=trainer.global_step)
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_checkpoint(os.path.join(folder, self.CHECKPOINT_NAME), weights_only=False)
            report(
                metrics,
                checkpoint=Checkpoint.from_directory(folder),
                checkpoint_upload_mode=self._mode,
                delete_local_checkpoint_after_upload=False,
                validation=self._validation,
            )
        trainer.strategy.barrier()
