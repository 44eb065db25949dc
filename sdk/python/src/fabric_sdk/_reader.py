"""Reading what a generator on fabric yields: as it comes, to its end or its exception."""

from __future__ import annotations

import base64
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Generator
from typing import Any

from ._aio import in_thread
from ._calls import decode
from ._interrupt import tell
from .errors import FabricError, GeneratorRestarted, from_body

__all__ = ["Event", "Reader"]

Event = dict[str, Any]


class Reader(ABC):
    """The values of one generator. One thread reads; another may `close`."""

    def __init__(self, on_restart: str, *, cancels: bool, id: str | None = None) -> None:
        self._on_restart = on_restart
        self._cancels = cancels
        self.id = id
        self._events: deque[Event] = deque()
        #: Id of the last chunk, for whoever goes on from there.
        self.last: str | None = None
        #: How many values were given out, which is also the number of the next new one.
        self._given = 0
        self.closed = False
        self._ended = False

    @abstractmethod
    def receive(self) -> list[Event]:
        """Events behind `last`, waiting for some; none for a sign of life. Makes the call where that was not done."""

    @abstractmethod
    def outcome(self, end: Event) -> Any:
        """The result that the last event tells, or what it tells of is raised."""

    @abstractmethod
    def disconnect(self) -> None:
        """Let a thread that waits in `receive` go on."""

    @abstractmethod
    def cancel(self, id: str) -> None:
        """Ask for the invocation's end."""

    def values(self) -> Generator[Any, None, Any]:
        """A generator whose return value is the function's."""
        try:
            while True:
                values, end = self.some()
                yield from values
                if end is not None:
                    return self.outcome(end)
        except KeyboardInterrupt as interrupt:
            tell(interrupt, f"the call {self.id or ''} {'is cancelled' if self._cancels else 'goes on'}")
            raise
        finally:
            self.leave()

    async def values_async(self) -> AsyncGenerator[Any, None]:
        """The same without blocking the event loop."""
        try:
            while True:
                values, end = await in_thread(self.some)
                for value in values:
                    yield value
                if end is not None:
                    await in_thread(self.outcome, end)
                    return
        finally:
            self.close()
            await in_thread(self.leave)

    def some(self) -> tuple[list[Any], Event | None]:
        """The values that came meanwhile, waiting for one if need be; or the last event."""
        while True:
            values: list[Any] = []
            while self._events:
                kind = self._events[0]["type"]
                if kind != "chunk" and values:
                    break
                event = self._events.popleft()
                if kind == "chunk":
                    self._take(event, values)
                elif kind == "restart":
                    self._restarted()
                elif kind == "end":
                    self._ended = True
                    return [], event
                elif kind == "error":
                    raise from_body(event["error"])
            if values:
                return values, None
            self._events.extend(self.receive())

    def close(self) -> None:
        """Lets a thread that waits in `some` go on, with an exception."""
        self.closed = True
        self.disconnect()

    def leave(self) -> None:
        """Nobody reads on: an invocation that has not ended is cancelled, if it is this reader's."""
        self.close()
        if self._ended or not self._cancels or self.id is None:
            return
        self._ended = True
        try:
            self.cancel(self.id)
        except FabricError as error:
            warnings.warn(f"{self.id} could not be cancelled: {error}", RuntimeWarning, stacklevel=2)

    def _take(self, event: Event, values: list[Any]) -> None:
        self.last = event["id"]
        n = int(event["id"].partition("-")[2])
        if n < self._given:
            return  # yielded again by an attempt that started over
        self._given = n + 1
        pickled = event.get("pickle")
        values.append(event["value"] if pickled is None else decode("pickle", base64.b64decode(pickled)))

    def _restarted(self) -> None:
        if self._on_restart == "raise" and self._given > 0:
            raise GeneratorRestarted(
                f"the generator started over after {self._given} values; f.remote_gen.on_restart('continue')(...) skips"
                " those that it yields again, which is right where every attempt yields the same",
                code="generator_restarted",
            )
