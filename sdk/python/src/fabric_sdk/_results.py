"""Reads a map's results: a stream of outcomes that goes on where it broke off."""

from __future__ import annotations

import threading
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from ._aio import in_thread
from ._calls import decode, failure
from ._feed import Feed, Transport
from ._interrupt import tell
from .errors import FabricError, InvalidError, from_body

__all__ = ["Results"]

#: How long outcomes that do not come are asked for again.
_PATIENCE_S = 15.0


class Results:
    """The outcomes of one map. One thread reads; another may `close`."""

    def __init__(self, transport: Transport, *, id: str | None = None, feed: Feed | None = None) -> None:
        self._transport = transport
        self._given_id = id
        self._feed = feed
        self._closed = threading.Event()
        self._ended = False

    def id(self) -> str:
        return self._given_id or (self._feed.id() if self._feed is not None else "")

    def sent(self) -> str:
        """The map's id, once all its inputs are accepted."""
        if self._feed is not None:
            self._feed.wait()
        return self.id()

    def values(self, order: bool, return_exceptions: bool, progress: bool) -> Generator[Any, None, None]:
        """Results as the caller wants them."""
        with closing(self._values(order, return_exceptions, progress)) as values:
            for some in values:
                yield from some

    async def values_async(self, order: bool, return_exceptions: bool, progress: bool) -> AsyncGenerator[Any, None]:
        """The same without blocking the event loop."""
        values: Any = self._values(order, return_exceptions, progress)
        try:
            while some := await in_thread(next, values, None):
                for value in some:
                    yield value
        finally:
            self.close()
            # A step that was cancelled may still run on its thread; it ends soon now, and leaves the map itself.
            if not values.gi_running:
                await in_thread(values.close)

    def _values(self, order: bool, return_exceptions: bool, progress: bool) -> Generator[list[Any], None, None]:
        """As many at once as are there."""
        with _Leaving(self), _bar(self._feed, progress) as step:
            told = self._told()
            for lines in _ordered(told) if order else told:
                some: list[Any] = []
                for line in lines:
                    value = self._value(line)
                    if isinstance(value, _Raised):
                        if value.ends_all or not return_exceptions:
                            if some:
                                yield some
                            raise value.error
                        value = value.error
                    some.append(value)
                    step()
                yield some

    def close(self) -> None:
        """Lets a thread that waits for results go on, with an exception."""
        self._closed.set()
        if self._feed is not None:
            self._feed.wake()
        self._transport.disconnect()

    def leave(self) -> None:
        """Nobody reads on: what we started is cancelled."""
        self._transport.disconnect()
        if self._feed is not None and not self._ended and self._feed.error is None:
            self._feed.abandon()

    def fate(self) -> str:
        """What becomes of the map when it is left now."""
        if self._feed is None:
            return f"the map {self._given_id} goes on; `fabric invocation cancel {self._given_id}` ends it"
        made = self._feed.made()
        return f"the map {made} is cancelled" if made else "the map was not made yet"

    def _value(self, told: dict[str, Any]) -> Any:
        if "result" in told:
            return told["result"]
        if "pickle" in told:
            return decode("pickle", b64decode(told["pickle"]))
        if self._feed is not None and self._feed.error is not None and told["error"].get("code") == "cancelled":
            return _Raised(self._feed.error, ends_all=True)  # why it was cancelled
        return _Raised(failure(told["error"], b64decode(told.get("exception", ""))))

    def _told(self) -> Iterator[list[dict[str, Any]]]:
        """Outcomes as they come, each once, also over several connections."""
        position = 0
        #: Since that position: what comes again after a lost connection.
        seen: set[int] = set()
        failing_since: float | None = None
        while True:
            try:
                for lines in self._transport.connected(self.id(), position):
                    fresh: list[dict[str, Any]] = []
                    for told in lines:
                        if "index" in told:
                            if told["index"] not in seen:
                                seen.add(told["index"])
                                fresh.append(told)
                        elif "cursor" in told:
                            position = told["cursor"]
                            seen.clear()
                        elif "error" in told and "ended" not in told:
                            raise from_body(told["error"])
                    failing_since = None
                    if fresh:
                        yield fresh
                    if lines and "ended" in lines[-1]:
                        self._finish()
                        return
            except (OSError, FabricError) as error:
                if self._feed is not None and error is self._feed.error:
                    raise  # the user's inputs or sending them, whatever its class: no lost connection
                if self._closed.is_set():
                    raise FabricError("the map was left", code="cancelled") from error
                if isinstance(error, FabricError) and not error.retryable:
                    raise
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > _PATIENCE_S:
                    raise
                self._closed.wait(0.2)

    def _finish(self) -> None:
        self._ended = True
        if self._feed is not None and self._feed.error is not None:
            raise self._feed.error


def _ordered(told: Iterable[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    early: dict[int, dict[str, Any]] = {}
    wanted = 0
    for lines in told:
        early.update((line["index"], line) for line in lines)
        due: list[dict[str, Any]] = []
        while wanted in early:
            due.append(early.pop(wanted))
            wanted += 1
        if due:
            yield due


class _Raised:
    def __init__(self, error: BaseException, *, ends_all: bool = False) -> None:
        self.error = error
        self.ends_all = ends_all


class _Leaving:
    def __init__(self, results: Results) -> None:
        self._results = results

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            tell(error, self._results.fate())
        self._results.leave()


class _bar:
    """Counts results on stderr; does nothing unless asked for."""

    def __init__(self, feed: Feed | None, shown: bool) -> None:
        self._feed = feed
        self._bar: Any = None
        if shown:
            try:
                from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
            except ImportError as error:
                raise InvalidError(
                    "progress=True shows a bar with tqdm, which is not installed: pip install tqdm", code="bad_request"
                ) from error
            self._bar = tqdm(unit=" inputs")

    def __enter__(self) -> Any:
        return self._step if self._bar is not None else lambda: None

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _step(self) -> None:
        if self._bar.total is None and self._feed is not None and self._feed.complete:
            self._bar.total = self._feed.sent
        self._bar.update()
