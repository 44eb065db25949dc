"""Saving and resuming inside a function, in Ray Train's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import _channel
from .checkpoint import Checkpoint
from .errors import InvalidError

__all__ = ["Context", "Series", "get_checkpoint", "get_context", "report", "series"]


@dataclass(frozen=True)
class Context:
    """What this attempt is."""

    invocation_id: str
    generation: int

    def get_world_size(self) -> int:
        """Training processes of this invocation."""
        return 1

    def get_world_rank(self) -> int:
        """This process among them."""
        return 0

    def get_local_rank(self) -> int:
        """This process among those of its container."""
        return 0


@dataclass(frozen=True)
class Series:
    """The series this attempt writes."""

    name: str
    next_step: int


def series(name: str, *, resume: bool = True) -> Series:
    """Choose the series this call writes; without it, the series is named by the invocation's id.

    With `resume=False` get_checkpoint() sees only what this invocation saved; step numbers go on all the same.
    """
    value = _here("series").series(name, resume)
    return Series(str(value["series"]), int(value["next_step"]))


def report(metrics: Mapping[str, Any], checkpoint: Checkpoint | None = None, step: int | None = None) -> int:
    """Record metrics, and save a checkpoint's files with them; returns the step. It is stored when this returns."""
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise InvalidError(
            f"checkpoint is {checkpoint!r}; make one with Checkpoint.from_directory(path)", code="checkpoint_invalid"
        )
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 99_999_999):
        raise InvalidError(f"step is {step!r}; it must be a whole number from 0 to 99999999", code="bad_request")
    plain = {_key(key): _metric(key, value) for key, value in metrics.items()}
    return _here("report").report(plain, checkpoint.path if checkpoint is not None else None, step)


def get_checkpoint() -> Checkpoint | None:
    """The latest checkpoint of this call's series, brought here; None at the first start."""
    found = _here("get_checkpoint").restore(None, None, None, None)
    return Checkpoint(**found) if found is not None else None


def get_context() -> Context:
    """What this attempt is."""
    return Context(*_here("get_context").attempt())


def _here(what: str) -> _channel.Channel:
    channel = _channel.current()
    if channel is None:
        raise InvalidError(f"train.{what}() works inside a function that runs on fabric", code="bad_request")
    return channel


def _key(key: Any) -> str:
    if not isinstance(key, str) or len(key) > 128:
        raise InvalidError(
            f"a metric is named {key!r}; names are strings of at most 128 characters", code="bad_request"
        )
    return key


def _metric(key: str, value: Any) -> Any:
    """Scalars of numpy and torch become Python's; NaN and infinities, which JSON lacks, become text."""
    if not isinstance(value, (str, bool, int, float, type(None))) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str) and len(value) <= 1024:
        return value
    raise InvalidError(
        f"the metric {key!r} is {value!r}; metrics are numbers, bools, None or strings of at most 1024 characters",
        code="bad_request",
    )
