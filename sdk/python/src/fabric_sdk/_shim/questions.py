"""Requests that have no answer yet: sent again after a reconnection, a few of those with long bodies at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .frames import INLINE_BYTES, Header, encode
from .streams import Streams

#: A runner bounds what one container may open; results need some, too.
_STREAMS_AT_ONCE = 16


class Questions:
    """Used under the link's lock; `write` puts a frame on the wire."""

    def __init__(self, write: Callable[[bytes], object], streams: Streams) -> None:
        self._put = write
        self._streams = streams
        self._open: dict[int, tuple[Header, bytes]] = {}
        self._streamed: set[int] = set()
        self._held: deque[int] = deque()

    def add(self, number: int, header: Header, body: bytes) -> None:
        self._open[number] = (header, body)

    def forget(self, number: int) -> bool:
        """Whether those that were held back may have room now."""
        self._open.pop(number, None)
        if number not in self._streamed:
            return False
        self._streamed.remove(number)
        return bool(self._held)

    def write(self, number: int) -> None:
        header, body = self._open.get(number, (None, b""))
        if header is None:
            return
        if len(body) <= INLINE_BYTES:
            self._put(encode(header, body))
        elif len(self._streamed) >= _STREAMS_AT_ONCE:
            self._held.append(number)
        else:
            self._streamed.add(number)
            stream = self._streams.offer(body)
            self._put(encode({**header, "operation": {**header["operation"], "stream": stream}}))
            self._put(encode({"type": "stream.open", "stream": stream, "name": "arguments"}))

    def write_held(self) -> None:
        held, self._held = self._held, deque()
        for number in held:
            self.write(number)

    def write_all(self) -> None:
        """On a new connection: no stream of the old one goes on."""
        self._streamed.clear()
        self._held.clear()
        for number in list(self._open):
            self.write(number)
