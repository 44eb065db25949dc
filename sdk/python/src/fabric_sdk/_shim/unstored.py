"""What an attempt has yielded and its runner has not stored yet: bounded, and sent again after a reconnection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quote

from .attempts import Attempt
from .frames import CHUNK_WINDOW, CHUNK_WINDOW_BYTES, encode_raw


class Unstored:
    """The chunks of one attempt that the runner has not stored yet; used under the link's lock."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._head = f'{{"type":"yield","id":{quote(attempt.id)},"generation":{attempt.generation},"encoding":'
        self._held: deque[tuple[int, int, bytes]] = deque()
        self._bytes = 0
        self._next = 0

    def take(self, encoding: str, data: bytes) -> bytes | None:
        """The frame of the next chunk, or None while there is no room for it."""
        if len(self._held) >= CHUNK_WINDOW or self._bytes + len(data) > CHUNK_WINDOW_BYTES:
            return None
        frame = encode_raw(f'{self._head}"{encoding}","seq":{self._next}}}'.encode(), data)
        self._held.append((self._next, len(data), frame))
        self._bytes += len(data)
        self._next += 1
        return frame

    def stored(self, seq: int) -> None:
        held = self._held
        while held and held[0][0] <= seq:
            self._bytes -= held.popleft()[1]
        wake = self._attempt.wake
        if wake is not None:
            wake()

    def frames(self) -> Iterator[bytes]:
        return (frame for _seq, _size, frame in self._held)
