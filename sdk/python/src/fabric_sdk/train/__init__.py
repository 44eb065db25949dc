"""Training in Ray Train's words: a script that used `ray.train` works with `fabric_sdk.train` in its place.

Names load when they are first used, so that containers that do not train start as fast as before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._report import CheckpointUploadMode, Series, get_checkpoint, report, report_behind, series

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ._absent import (
        SyncConfig,
        UserCallback,
        ValidationConfig,
        ValidationTaskConfig,
        get_all_reported_checkpoints,
        get_preemption_info,
    )
    from ._configs import (
        BackendConfig,
        CheckpointConfig,
        DataConfig,
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
    )
    from ._context import TrainContext, get_context
    from ._data import DataIterator, get_dataset_shard
    from ._failures import ControllerError, TrainingFailedError, WorkerGroupError
    from ._result import Result

__all__ = [
    "TRAIN_DATASET_KEY",
    "BackendConfig",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointUploadMode",
    "ControllerError",
    "DataConfig",
    "DataIterator",
    "FailureConfig",
    "LoggingConfig",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "Series",
    "SyncConfig",
    "TrainContext",
    "TrainingFailedError",
    "UserCallback",
    "ValidationConfig",
    "ValidationTaskConfig",
    "WorkerGroupError",
    "get_all_reported_checkpoints",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "get_preemption_info",
    "report",
    "report_behind",
    "series",
]

TRAIN_DATASET_KEY = "train"

_MODULES = {
    "..checkpoint": "Checkpoint",
    "._absent": "SyncConfig UserCallback ValidationConfig ValidationTaskConfig get_all_reported_checkpoints"
    " get_preemption_info",
    "._configs": "BackendConfig CheckpointConfig DataConfig FailureConfig LoggingConfig RunConfig ScalingConfig",
    "._context": "TrainContext get_context",
    "._data": "DataIterator get_dataset_shard",
    "._failures": "ControllerError TrainingFailedError WorkerGroupError",
    "._result": "Result",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"fabric_sdk.train has no {name}")
    found = getattr(importlib.import_module(module, __name__), name)
    globals()[name] = found
    return found
