"""The training that fit() runs in this process: what it is called, what it reads and what it has reported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Run", "current", "note", "notice", "running"]

_told: set[str] = set()


class Run:
    """`rows` are `{"step", "metrics", "saved"}`, one for each report of this attempt."""

    def __init__(self, name: str | None, datasets: Mapping[str, Any], whole: Mapping[str, bool]) -> None:
        self.name = name
        self.datasets = datasets
        #: By dataset, whether every rank reads all of it.
        self.whole = whole
        self.rows: list[dict[str, Any]] = []

    def settled(self) -> list[dict[str, Any]]:
        """The rows once all of them are stored; without those whose save failed, of which the loop has heard."""
        behind = [(row, None if isinstance(row["step"], int) else row["step"]) for row in self.rows]
        return [
            {**row, "step": row["step"] if saved is None else saved.result()}
            for row, saved in behind
            if saved is None or saved.exception() is None
        ]


_current: ContextVar[Run | None] = ContextVar("fabric_run", default=None)


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """`run` is the current one while the block runs."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


def current() -> Run | None:
    """None in functions that train without a trainer."""
    return _current.get()


def note(step: int | Future[int], metrics: dict[str, Any], *, saved: bool) -> None:
    """A report that was stored, or is being stored behind the loop."""
    run = _current.get()
    if run is not None:
        run.rows.append({"step": step, "metrics": metrics, "saved": saved})


def notice(text: str) -> None:
    """A line on stderr, once in a process."""
    if text not in _told:
        _told.add(text)
        print(f"fabric: {text}", file=sys.stderr)
