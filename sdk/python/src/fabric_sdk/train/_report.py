"""Saving and resuming inside a function."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import _channel
from ..checkpoint import Checkpoint
from ..errors import InvalidError
from . import _run

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["CheckpointUploadMode", "Series", "get_checkpoint", "here", "report", "report_behind", "series"]


class CheckpointUploadMode(Enum):
    """How a checkpoint's files are saved."""

    ASYNC = "ASYNC"
    SYNC = "SYNC"
    NO_UPLOAD = "NO_UPLOAD"


@dataclass(frozen=True)
class Series:
    """The series this attempt writes."""

    name: str
    next_step: int


def series(
    name: str,
    *,
    resume: bool = True,
    num_to_keep: int | None = None,
    checkpoint_score_attribute: str | None = None,
    checkpoint_score_order: str = "max",
    metrics_per_rank: bool = False,
) -> Series:
    """Choose the series this call writes; without it, the series is named by the invocation's id.

    With `resume=False` get_checkpoint() sees only what this invocation saved; step numbers go on all the same. With
    `num_to_keep`, every save removes all but that many: the best by a metric, or the latest. The latest one and those
    with a tag stay. With `metrics_per_rank`, rows of metrics are kept of every rank of a gang.
    """
    if num_to_keep is not None and (not isinstance(num_to_keep, int) or num_to_keep < 1):
        raise InvalidError(
            f"num_to_keep is {num_to_keep!r}; it must be None or a whole number from 1 on", code="bad_request"
        )
    if checkpoint_score_order not in ("max", "min"):
        raise InvalidError(
            f'checkpoint_score_order is {checkpoint_score_order!r}; it must be "max" or "min"', code="bad_request"
        )
    channel = here("series")
    channel.keep(num_to_keep, checkpoint_score_attribute, checkpoint_score_order, metrics_per_rank)
    value = channel.series(name, resume)
    return Series(str(value["series"]), int(value["next_step"]))


@overload
def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: Literal[CheckpointUploadMode.SYNC] = CheckpointUploadMode.SYNC,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Callable[..., Any] | None = None,
    validation: Any = False,
    *,
    step: int | None = None,
) -> int: ...


@overload
def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: CheckpointUploadMode = CheckpointUploadMode.SYNC,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Callable[..., Any] | None = None,
    validation: Any = False,
    *,
    step: int | None = None,
) -> int | Future[int]: ...


def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: CheckpointUploadMode = CheckpointUploadMode.SYNC,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Callable[..., Any] | None = None,
    validation: Any = False,
    *,
    step: int | None = None,
) -> int | Future[int]:
    """Record metrics, and save a checkpoint's files with them; returns the step. It is stored when this returns.

    With `checkpoint_upload_mode=ASYNC` it is saved behind the training, as by `report_behind`, and a Future of the step
    is returned; the folder is fabric's then, unless `delete_local_checkpoint_after_upload=False`. A checkpoint's folder
    in the bucket is named by its step."""
    _check_mode(checkpoint_upload_mode)
    if checkpoint_upload_fn is not None:
        raise _not_there("checkpoint_upload_fn", "the runner saves a checkpoint's files; leave it out")
    if validation:
        raise _not_there("validation", "evaluate in the training loop and report what it measured")
    if checkpoint_dir_name is not None:
        _run.notice("checkpoint_dir_name has no effect: a checkpoint's folder is named by its step")
    remove = delete_local_checkpoint_after_upload
    if checkpoint_upload_mode is CheckpointUploadMode.ASYNC:
        return report_behind(metrics, checkpoint, step, give=remove is None or remove)
    plain = _checked(metrics, checkpoint, step)
    saved_at = here("report").report(plain, checkpoint.path if checkpoint is not None else None, step)
    _run.note(saved_at, plain, saved=checkpoint is not None)
    if checkpoint is not None and remove:
        shutil.rmtree(checkpoint.path)
    return saved_at


def report_behind(
    metrics: Mapping[str, Any], checkpoint: Checkpoint | None, step: int | None = None, *, give: bool = False
) -> Future[int]:
    """Save a checkpoint while the function goes on: returns as soon as its files are copied on this machine.

    The future has the step once it is stored, or the exception. The next save waits for it, and so does the function's
    end, which fails when it failed. With `give=True` nothing is copied: the files are fabric's, and their folder goes.
    """
    plain = _checked(metrics, checkpoint, step)
    folder = checkpoint.path if checkpoint is not None else None
    saved = here("report_behind").save_behind(plain, folder, step, give)
    _run.note(saved, plain, saved=checkpoint is not None)
    return saved


def get_checkpoint() -> Checkpoint | None:
    """The latest checkpoint of this call's series, brought here; None at the first start."""
    found = here("get_checkpoint").restore(None, None, None, None)
    return Checkpoint(**found) if found is not None else None


def here(what: str) -> _channel.Channel:
    """The way to the runner, where there is one."""
    channel = _channel.current()
    if channel is None:
        raise InvalidError(f"train.{what}() works inside a function that runs on fabric", code="bad_request")
    return channel


def _checked(metrics: Mapping[str, Any], checkpoint: Checkpoint | None, step: int | None) -> dict[str, Any]:
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise InvalidError(
            f"checkpoint is {checkpoint!r}; make one with Checkpoint.from_directory(path)", code="checkpoint_invalid"
        )
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 99_999_999):
        raise InvalidError(f"step is {step!r}; it must be a whole number from 0 to 99999999", code="bad_request")
    return {_key(key): _metric(key, value) for key, value in metrics.items()}


def _check_mode(mode: Any) -> None:
    if not isinstance(mode, CheckpointUploadMode):
        raise InvalidError(
            f"checkpoint_upload_mode is {mode!r}; it must be a CheckpointUploadMode: SYNC or ASYNC", code="bad_request"
        )
    if mode is CheckpointUploadMode.NO_UPLOAD:
        raise _not_there("checkpoint_upload_mode=NO_UPLOAD", "a checkpoint is one once it is in the bucket; use SYNC")


def _not_there(what: str, instead: str) -> InvalidError:
    return InvalidError(f"{what} is not available in this version of fabric; {instead}", code="bad_request")


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
