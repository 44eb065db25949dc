"""Checkpoint: a folder of files that a function saved on purpose, with its step and metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import _channel
from .errors import InvalidError, NotFoundError

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder to save (`from_directory`), or one that was brought here (`load`, `train.get_checkpoint`)."""

    path: str
    series: str | None = None
    step: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not os.path.isdir(self.path):
            raise InvalidError(f"path is {self.path!r}; it must be an existing folder", code="checkpoint_invalid")

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """A folder's files, to be given to `train.report`, which copies them."""
        return cls(os.path.abspath(os.fspath(path)))

    @contextmanager
    def as_directory(self) -> Iterator[str]:
        """The folder, in Ray's form: `with checkpoint.as_directory() as folder`."""
        yield self.path

    @classmethod
    def load(cls, series: str, step: int | None = None, *, best: str | None = None, order: str = "max") -> Checkpoint:
        """Bring a checkpoint here: at `step`, or the one whose metric `best` is highest (`order="min"`: lowest), or the
        latest. Raises NotFoundError when there is none."""
        if order not in ("max", "min"):
            raise InvalidError(f'order is {order!r}; it must be "max" or "min"', code="bad_request")
        if step is not None and best is not None:
            raise InvalidError(f"step={step!r} and best={best!r} exclude each other; give one", code="bad_request")
        channel = _channel.current()
        if channel is not None:
            found = channel.restore(series, step, best, order if best is not None else None)
        else:
            from ._client import checkpoints

            found = checkpoints.load(series, step, best, order)
        if found is None:
            wanted = f"step {step}" if step is not None else f"metric {best!r}" if best is not None else "any step"
            raise NotFoundError(
                f"the series {series!r} has no complete checkpoint with {wanted}", code="checkpoint_not_found"
            )
        return cls(**found)
