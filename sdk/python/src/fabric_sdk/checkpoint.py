"""Checkpoint: a folder of files that a function saved on purpose, with its step and metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from . import _channel
from .errors import InvalidError, NotFoundError

__all__ = ["Checkpoint"]

_METADATA = ".metadata.json"


class Checkpoint:
    """A folder to save (`from_directory`), or a saved one (`load`, `train.get_checkpoint`).

    A saved one may be an argument or a result: what travels is its name; its files come when they are first asked for.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        series: str | None = None,
        step: int | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self._path: str | None = os.path.abspath(os.fspath(path))
        self.series = series
        self.step = step
        self.metrics: Mapping[str, Any] = dict(metrics or {})
        if not os.path.isdir(self._path):
            raise InvalidError(f"path is {os.fspath(path)!r}; it must be an existing folder", code="checkpoint_invalid")

    @property
    def path(self) -> str:
        """The folder on this machine; of a saved one it is brought here first."""
        if self._path is None or not os.path.isdir(self._path):
            if self.series is None:
                raise InvalidError(
                    f"the folder {self._path!r} is not here: only a checkpoint that train.report() has saved travels",
                    code="checkpoint_invalid",
                )
            self._path = str(_bring((self.series, self.step, None, "max", None))["path"])
        return self._path

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """A folder's files, to be given to `train.report`, which copies them."""
        return cls(path)

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the files to a folder, by default a new temporary one; returns its path. The copy is the caller's."""
        target = os.fspath(path) if path is not None else tempfile.mkdtemp(prefix="fabric-checkpoint-")
        shutil.copytree(self.path, target, dirs_exist_ok=True)
        return target

    @contextmanager
    def as_directory(self) -> Iterator[str]:
        """The folder, in Ray's form: `with checkpoint.as_directory() as folder`."""
        yield self.path

    def get_metadata(self) -> dict[str, Any]:
        """What `set_metadata` kept in the folder."""
        try:
            with open(os.path.join(self.path, _METADATA), encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            return {}
        return found if isinstance(found, dict) else {}

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Keep JSON values in the folder, saved with it. What is saved already does not change any more."""
        if self.series is not None:
            raise InvalidError(
                f"{self!r} is saved already; set metadata before train.report()", code="checkpoint_invalid"
            )
        text = json.dumps(dict(metadata), indent=2)
        with open(os.path.join(self.path, _METADATA), "w", encoding="utf-8") as file:
            file.write(text)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Like `set_metadata`, beside what is there."""
        self.set_metadata({**self.get_metadata(), **metadata})

    @classmethod
    def load(cls, series: str, step: int | None = None, *, best: str | None = None, order: str = "max") -> Checkpoint:
        """Bring a checkpoint here: at `step`, or the one whose metric `best` is highest (`order="min"`: lowest), or the
        latest. `"series:production"` is where the tag points, `"series:best"` the best by the series' own score; a step
        and `latest` may stand there, too. Raises NotFoundError when there is none.

        The folder is temporary: it goes when this process ends, inside a function with its container. Copy what is
        to stay, or use `fabric checkpoint pull`."""
        return cls(**_bring(_asked(series, step, best, order)))

    @classmethod
    def find(
        cls,
        series: str,
        step: int | None = None,
        *,
        best: str | None = None,
        order: str = "max",
        max_age: float = 0.0,
    ) -> Checkpoint:
        """Like `load`, without the files: they come when `path` is first asked for. It is the same object for as long
        as the name means the same checkpoint, so a function that serves a model sees whether its tag has moved. With
        `max_age`, what this process found out at most so many seconds ago is told again."""
        asked = _asked(series, step, best, order)
        looked_at, known = _found.get(asked, (0.0, None))
        now = time.monotonic()
        if known is not None and now - looked_at < max_age:
            return known
        found = _elsewhere(None, **_there(asked))
        if known is None or known != found:
            known = found
        _found[asked] = (now, known)
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return (_elsewhere, (None if self.series is not None else self._path, self.series, self.step, self.metrics))

    def __repr__(self) -> str:
        name = f"path={self._path!r}" if self.series is None else f"{self.series}:{self.step}"
        return f"Checkpoint({name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.series, self.step) if self.series is not None else self._path)


def saved_checkpoint(series: str, step: int, metrics: Mapping[str, Any]) -> Checkpoint:
    """One that is in the bucket: its files are brought here when they are first asked for."""
    return _elsewhere(None, series, step, metrics)


def _elsewhere(path: str | None, series: str | None, step: int | None, metrics: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint that arrived as a pickle: its files are not looked for yet."""
    made = Checkpoint.__new__(Checkpoint)
    made._path, made.series, made.step, made.metrics = path, series, step, metrics
    return made


#: Series, step, best, order, and what stands behind the series' name.
_Asked = tuple[str, Optional[int], Optional[str], str, Optional[str]]

#: When `find` asked for it last, and what it was told.
_found: dict[_Asked, tuple[float, Checkpoint]] = {}


def _asked(series: str, step: int | None, best: str | None, order: str) -> _Asked:
    name, at = _split(series)
    if at is not None and (step is not None or best is not None):
        raise InvalidError(f"{series!r} names a checkpoint already; give no step or best", code="bad_request")
    if order not in ("max", "min"):
        raise InvalidError(f'order is {order!r}; it must be "max" or "min"', code="bad_request")
    if step is not None and best is not None:
        raise InvalidError(f"step={step!r} and best={best!r} exclude each other; give one", code="bad_request")
    return name, step, best, order, at


def _bring(asked: _Asked) -> dict[str, Any]:
    series, step, best, order, at = asked
    channel = _channel.current()
    if channel is not None:
        return _known(asked, channel.restore(series, step, best, order if best is not None else None, at))
    from ._client import checkpoints

    return _known(asked, checkpoints.load(series, step, best, order, at))


def _there(asked: _Asked) -> dict[str, Any]:
    """Without its files."""
    series, step, best, order, at = asked
    channel = _channel.current()
    if channel is not None:
        return _known(asked, channel.find(series, step, best, order if best is not None else None, at))
    from ._client import checkpoints

    found = _known(asked, checkpoints.find(series, step, best, order, at))
    return {"series": series, "step": found["step"], "metrics": found["metrics"]}


def _known(asked: _Asked, found: dict[str, Any] | None) -> dict[str, Any]:
    series, step, best, _order, at = asked
    if found is None:
        wanted = at or (f"step {step}" if step is not None else f"metric {best!r}" if best is not None else "any step")
        raise NotFoundError(
            f"the series {series!r} has no complete checkpoint with {wanted}", code="checkpoint_not_found"
        )
    return found


def _split(series: str) -> tuple[str, str | None]:
    name, colon, at = series.partition(":")
    if colon and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", at):
        raise InvalidError(f"{series!r} is not a series, SERIES:STEP or SERIES:TAG", code="bad_request")
    return name, at if colon else None
