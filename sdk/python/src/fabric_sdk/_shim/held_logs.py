"""Output that found no runner to take it: the latest MiB is kept, what goes is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .frames import encode

_MAX_BYTES = 1024 * 1024


class HeldLogs:
    """Used under the link's lock."""

    def __init__(self) -> None:
        #: Frames and how many lines each holds.
        self._frames: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self._lost_lines = 0

    def add(self, frame: bytes, lines: int) -> None:
        self._frames.append((frame, lines))
        self._bytes += len(frame)
        while self._bytes > _MAX_BYTES:
            self._lost_lines += self._drop()

    def flush(self, write: Callable[[bytes], bool]) -> None:
        """First how much was lost, then the rest, as far as it can be written."""
        if self._lost_lines > 0:
            if not write(encode({"type": "log", "source": "stderr", "lost": self._lost_lines})):
                return
            self._lost_lines = 0
        while self._frames and write(self._frames[0][0]):
            self._drop()

    def _drop(self) -> int:
        frame, lines = self._frames.popleft()
        self._bytes -= len(frame)
        return lines
