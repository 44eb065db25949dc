"""Runs a class whose methods are of both kinds."""

from __future__ import annotations

from collections.abc import Mapping

from .attempts import Attempt
from .execute import EventLoop, Executor, Threads


class Mixed:
    """A class with coroutine methods and plain ones: the former on its loop, the latter on threads."""

    def __init__(self, of: Mapping[str | None, Executor], loop: EventLoop, threads: Threads) -> None:
        self._of = of
        self._parts = (loop, threads)
        self.loop = loop.loop

    def submit(self, attempt: Attempt) -> None:
        self._of[attempt.method].submit(attempt)

    def cancel(self, attempt: Attempt) -> None:
        self._of[attempt.method].cancel(attempt)

    def stop(self) -> None:
        for part in self._parts:
            part.stop()

    def run(self) -> None:
        for part in self._parts:
            part.run()
