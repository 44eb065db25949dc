"""What user code and its subprocesses print: taken from file descriptors 1 and 2 and sent on as whole lines.

With one slot everything goes through the descriptors, so that the order of Python's, C's and children's output is kept.
With several slots `sys.stdout` and `sys.stderr` write to a third pipe, each piece marked with its attempt.
"""

from __future__ import annotations

import array
import fcntl
import io
import os
import select
import struct
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any, Optional

from . import attempts
from .attempts import Attempt

Emit = Callable[[str, Optional[str], bytes], None]

_CHUNK = 64 * 1024
#: A pipe takes a write of at most PIPE_BUF bytes whole or not at all, also from several threads.
_PIECE = 4096
_MARK = struct.Struct(">BBH")
_SOURCES = ("stdout", "stderr")
_IDLE_MS = 500


class _Lines:
    """Holds back a line's beginning until the rest has come."""

    def __init__(self) -> None:
        self.tail = b""

    def feed(self, data: bytes) -> bytes:
        data = self.tail + data
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > _CHUNK:
            cut = len(data)
        self.tail = data[cut:]
        return data[:cut]

    def rest(self) -> bytes:
        rest, self.tail = self.tail, b""
        return rest


class Output:
    """Owns the descriptors 1 and 2 from `start` on."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str | None], _Lines] = {}
        self._pipes: dict[int, str] = {}
        self._marked = -1
        self._marked_write = -1
        self._marked_held = b""
        self._attributing = False
        self._poll = select.poll()
        self._pending = array.array("i", [0])

    def start(self) -> Any:
        """Redirects the descriptors; returns the stderr from before, for the shim's own complaints."""
        own = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        for fd, source in ((1, "stdout"), (2, "stderr")):
            read, write = os.pipe()
            os.dup2(write, fd)
            os.close(write)
            self._watch(read)
            self._pipes[read] = source
        for name, fd in (("stdout", 1), ("stderr", 2)):
            stream = _line_buffered(fd)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        self._marked, self._marked_write = os.pipe()
        self._watch(self._marked)
        _let_c_write_lines()
        threading.Thread(target=self._read_for_ever, name="fabric-output", daemon=True).start()
        return own

    def attribute(self) -> None:
        """From now on tell the output of inputs that run at the same time apart."""
        sys.stdout = _Marking(self, 0, sys.stdout)
        sys.stderr = _Marking(self, 1, sys.stderr)
        self._attributing = True

    def drain(self, attempt: Attempt | None = None) -> None:
        """Everything printed so far is on its way when this returns."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not getattr(stream, "closed", False):
                try:
                    stream.flush()
                except Exception as error:  # an object that user code put there
                    os.write(2, f"{type(error).__name__} while flushing: {error}\n".encode())
        pipes = (*self._pipes, self._marked) if self._attributing else tuple(self._pipes)
        if not self._lines and not self._lock.locked() and not any(map(self._waiting, pipes)):
            return
        with self._lock:
            for fd in pipes:
                self._pull(fd)
            for source, name in list(self._lines):
                if attempt is None or name == attempt.id:
                    self._finish(source, name)

    def write_marked(self, source: int, data: bytes) -> None:
        attempt = attempts.current()
        name = attempt.id.encode() if attempt is not None else b""
        room = _PIECE - _MARK.size - len(name)
        for at in range(0, len(data), room):
            piece = data[at : at + room]
            os.write(self._marked_write, _MARK.pack(source, len(name), len(piece)) + name + piece)

    def _watch(self, read: int) -> None:
        os.set_blocking(read, False)
        self._poll.register(read, select.POLLIN)

    def _waiting(self, fd: int) -> int:
        fcntl.ioctl(fd, termios.FIONREAD, self._pending)
        return self._pending[0]

    def _read_for_ever(self) -> None:
        while True:
            ready = self._poll.poll(_IDLE_MS if self._lines else None)
            with self._lock:
                for fd, _event in ready:
                    self._pull(fd)
                if not ready:
                    for source, name in list(self._lines):
                        self._finish(source, name)

    def _pull(self, fd: int) -> None:
        while True:
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            if fd == self._marked:
                self._unmark(data)
            else:
                sole = attempts.sole()
                self._take(self._pipes[fd], sole.id if sole is not None else None, data)

    def _unmark(self, data: bytes) -> None:
        data = self._marked_held + data
        at = 0
        while len(data) - at >= _MARK.size:
            source, name_size, size = _MARK.unpack_from(data, at)
            start = at + _MARK.size + name_size
            if len(data) < start + size:
                break
            name = data[at + _MARK.size : start].decode() or None
            self._take(_SOURCES[source], name, data[start : start + size])
            at = start + size
        self._marked_held = data[at:]

    def _take(self, source: str, name: str | None, data: bytes) -> None:
        lines = self._lines.setdefault((source, name), _Lines())
        whole = lines.feed(data)
        if not lines.tail:
            del self._lines[(source, name)]
        self._send(source, name, whole)

    def _finish(self, source: str, name: str | None) -> None:
        self._send(source, name, self._lines.pop((source, name)).rest())

    def _send(self, source: str, name: str | None, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK):
            self._emit(source, name, data[at : at + _CHUNK])


def _line_buffered(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", line_buffering=True)


def _let_c_write_lines() -> None:
    """C's stdout is a pipe now, so it would hold text back until a block is full, beyond the end of the input."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, 1, 0)
    except (ImportError, OSError, ValueError, AttributeError) as error:
        print(f"fabric: what C code prints may come late ({error})", file=sys.stderr)


class _Marking(io.TextIOBase):
    """Writes whole lines to the marked pipe, keeping each context's unfinished line apart."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output: Output, source: int, under: Any) -> None:
        self._output = output
        self._source = source
        self._under = under

    @property
    def buffer(self) -> Any:
        """Bytes written here are attributed only while one input runs."""
        return self._under.buffer

    def fileno(self) -> int:
        return self._source + 1

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._output.write_marked(self._source, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        self._under.flush()
