"""The function that TorchTrainer.fit() submits: torch is imported before ranks are forked, once for all attempts."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from . import _place

if TYPE_CHECKING:
    from .data_parallel_trainer import DataParallelTrainer

__all__ = ["train"]

#: The second one is what torch itself imports with the first optimizer.
_BEFORE_FORKS = ("torch", "torch._dynamo")


def train(trainer: DataParallelTrainer) -> dict[str, Any]:
    """One attempt."""
    return _place.train(trainer)


def _import_before_forks() -> None:
    for name in _BEFORE_FORKS:
        if importlib.util.find_spec(name) is None:
            return
        importlib.import_module(name)


# The caller of fit() imports this module, too, and need not have torch.
if "FABRIC_CONTAINER" in os.environ:
    _import_before_forks()
