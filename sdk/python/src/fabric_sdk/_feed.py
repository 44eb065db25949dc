"""Sends a map's inputs: read and encoded on a thread of their own, in pages that wait for no results."""

from __future__ import annotations

import base64
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ._calls import encode
from ._values import plain_json
from .errors import FabricError, InvalidError
from .maps import Call

Pause = Callable[[float], bool]


class Transport(Protocol):
    """How one map reaches fabric, and its outcomes come back. Where there is no room for inputs it is asked again after
    `pause(seconds)`, until that answers that the map was left."""

    def open(self, lines: bytes, more: bool, pause: Pause) -> tuple[str, int]:
        """Make the map of the first inputs: its id, and how many inputs it has."""

    def append(self, id: str, first: int, lines: bytes, more: bool, pause: Pause) -> int:
        """Further inputs, from that index on: how many it has."""

    def cancel(self, id: str) -> None:
        """Ask for its end."""

    def connected(self, id: str, position: int) -> Iterator[list[dict[str, Any]]]:
        """Outcomes behind a position, and cursors between them, as many at once as are there. Raises FabricError or
        OSError."""

    def disconnect(self) -> None:
        """Let a thread that waits in `connected` go on, with an exception."""


#: As the gateway stores them; more would be cut there.
_PAGE_INPUTS = 1_000
_PAGE_BYTES = 256 * 1024
_LINE_BYTES = 768 * 1024
#: An input waits for others to travel with no longer than this, also while the next one is not there yet.
_FLUSH_S = 0.02


class Feed:
    """The inputs of one map on their way; `id` is there once the first page is accepted."""

    def __init__(self, transport: Transport, inputs: Iterable[Call]) -> None:
        self._transport = transport
        self._inputs = inputs
        self._buffer: list[bytes] = []
        self._bytes = 0
        self._filling = threading.Lock()
        self._posting = threading.Lock()
        self._ended = threading.Event()
        self._opened = threading.Event()
        self._id = ""
        #: Inputs that were accepted.
        self.sent = 0
        #: No more will come.
        self.complete = False
        #: What the user's own iterable raised, or sending it.
        self.error: BaseException | None = None
        for name, body in (("fabric-map-inputs", self._feed), ("fabric-map-flush", self._flush_for_ever)):
            # In a container the inputs belong to the attempt whose code makes the map.
            here = contextvars.copy_context()
            threading.Thread(target=here.run, args=(body,), name=name, daemon=True).start()

    def id(self) -> str:
        """The map's, waiting for it. Raises what kept it from being made."""
        self._opened.wait()
        if not self._id:
            raise self.error or FabricError("the map was left", code="cancelled")
        return self._id

    def made(self) -> str:
        """The same without waiting; empty where there is none yet."""
        return self._id

    def wake(self) -> None:
        """Who waits for the id is to wait no longer."""
        self._opened.set()

    def wait(self) -> None:
        """Until all inputs are accepted. Raises what kept them from it."""
        self._ended.wait()
        if self.error is not None:
            raise self.error

    def abandon(self, error: BaseException | None = None) -> None:
        """Send no more, and cancel what was made of it."""
        self.error = self.error or error
        self._ended.set()
        self._opened.set()
        with self._posting:  # the map may be made at this moment
            made = self._id
        if made:
            self._transport.cancel(made)

    def _feed(self) -> None:
        try:
            for args, kwargs in self._inputs:
                if self._ended.is_set():
                    return
                self._add(_line(args, kwargs))
            self._flush(last=True)
            self.complete = self.error is None
        except BaseException as error:  # whatever the user's iterable raises, for the caller to see
            self.abandon(error)
        finally:
            self._ended.set()
            self._opened.set()

    def _add(self, line: bytes) -> None:
        with self._filling:
            if len(self._buffer) < _PAGE_INPUTS and self._bytes + len(line) < _PAGE_BYTES:
                self._buffer.append(line)
                self._bytes += len(line) + 1
                return
        self._flush()
        self._add_first(line)

    def _add_first(self, line: bytes) -> None:
        with self._filling:
            self._buffer.append(line)
            self._bytes += len(line) + 1

    def _flush_for_ever(self) -> None:
        while not self._ended.wait(_FLUSH_S):
            try:
                self._flush()
            except BaseException as error:  # for the caller to see: the feeding thread may wait for the next input
                self.abandon(error)

    def _flush(self, *, last: bool = False) -> None:
        with self._posting:
            if self._ended.is_set():
                return
            with self._filling:
                lines, self._buffer, self._bytes = self._buffer, [], 0
            if lines or last:
                self._post(lines, last)

    def _post(self, lines: list[bytes], last: bool) -> None:
        body = b"\n".join(lines)
        if self._id:
            known = self._transport.append(self._id, self.sent, body, not last, self._ended.wait)
        else:
            self._id, known = self._transport.open(body, not last, self._ended.wait)
        self.sent += len(lines)
        if known < self.sent:
            raise FabricError(f"fabric has {known} inputs instead of {self.sent}", fault="platform")
        self._opened.set()


def _line(args: tuple[Any, ...], kwargs: Any) -> bytes:
    line = plain_json(list(args)) if not kwargs else None
    if line is None:
        encoding, line = encode(args, kwargs)
        if encoding == "pickle":
            line = b'{"pickle":"%b"}' % base64.b64encode(line)
    if len(line) > _LINE_BYTES:
        raise InvalidError(
            f"an input of the map has {len(line)} bytes; at most {_LINE_BYTES} travel. Pass larger data by name",
            code="body_too_large",
        )
    return line
