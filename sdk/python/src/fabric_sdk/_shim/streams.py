"""Byte streams over the runner's socket: those arriving are spooled to files, those leaving wait for credit."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import IO, Optional, Protocol

from .frames import STREAM_CHUNK_BYTES, STREAM_WINDOW_BYTES, Header, encode

CONNECTION_LOST = "the connection to the runner was lost"
DISK_FULL = "disk_full"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

#: Called with the spooled file, or with None and the reason why there is none.
Arrived = Callable[[Optional[str], str], None]


class Sender(Protocol):
    """What streams need of the link."""

    def send(self, frame: bytes) -> bool: ...

    def post(self, act: Callable[[], object]) -> None: ...


class _Incoming:
    def __init__(self, path: str) -> None:
        self.path = path
        self.file: IO[bytes] | None = None
        self.taken = 0
        self.arrived: Arrived | None = None
        #: Set at the end: whole, or the reason why not.
        self.ended: str | None = None


class _Outgoing:
    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.sent = 0
        self.credit = 0


class Streams:
    """The runner's numbers are even, ours odd; all of them end with the connection."""

    def __init__(self, sender: Sender, folder: Callable[[], str]) -> None:
        self._sender = sender
        self._folder = folder
        self._lock = threading.Lock()
        self._incoming: dict[int, _Incoming] = {}
        self._outgoing: dict[int, _Outgoing] = {}
        self._next = 1
        self._files = 0

    # leaving

    def offer(self, data: bytes) -> int:
        """The number under which `data` will leave once credit arrives; the caller announces and opens it."""
        with self._lock:
            number = self._next
            self._next += 2
            self._outgoing[number] = _Outgoing(data)
            return number

    def on_credit(self, header: Header, _body: bytes) -> None:
        number = header["stream"]
        with self._lock:
            stream = self._outgoing.get(number)
            if stream is None:
                return  # cancelled or ended while the credit was on its way
            stream.credit += header["bytes"]
        self._sender.post(lambda: self._pump(number, stream))

    def _pump(self, number: int, stream: _Outgoing) -> None:
        while True:
            with self._lock:
                if self._outgoing.get(number) is not stream:
                    return
                size = min(stream.credit, STREAM_CHUNK_BYTES, len(stream.data) - stream.sent)
                chunk = bytes(stream.data[stream.sent : stream.sent + size])
                stream.credit -= size
                stream.sent += size
                ended = stream.sent == len(stream.data)
                if ended:
                    del self._outgoing[number]
            if size > 0 and not self._sender.send(encode({"type": "stream.data", "stream": number}, chunk)):
                return
            if ended:
                self._sender.send(encode({"type": "stream.end", "stream": number}))
                return
            if size == 0:
                return

    # arriving

    def claim(self, number: int, arrived: Arrived) -> None:
        """Have `arrived` called when the stream is whole or broken, be it open already or not."""
        with self._lock:
            stream = self._get(number)
            stream.arrived = arrived
        self._conclude(number, stream)

    def refuse(self, number: int, reason: str) -> None:
        """Tell the runner to stop sending, and forget what came."""
        with self._lock:
            stream = self._incoming.pop(number, None)
        if stream is not None and stream.ended is None:
            _discard(stream)
            self._cancel(number, reason)

    def on_open(self, header: Header, _body: bytes) -> None:
        number = header["stream"]
        with self._lock:
            stream = self._get(number)
        try:
            os.makedirs(os.path.dirname(stream.path), exist_ok=True)
            stream.file = open(stream.path, "wb")  # noqa: SIM115 (closed at the stream's end)
        except OSError as error:
            self._break(number, stream, error)
            return
        self._grant(number, STREAM_WINDOW_BYTES)

    def on_data(self, header: Header, body: bytes) -> None:
        number = header["stream"]
        stream = self._incoming.get(number)
        if stream is None or stream.file is None:
            return  # refused while the data was on its way
        try:
            stream.file.write(body)
        except OSError as error:
            self._break(number, stream, error)
            return
        stream.taken += len(body)
        if stream.taken >= STREAM_WINDOW_BYTES // 2:
            self._grant(number, stream.taken)
            stream.taken = 0

    def on_end(self, header: Header, _body: bytes) -> None:
        number = header["stream"]
        stream = self._incoming.get(number)
        if stream is None or stream.file is None:
            return
        try:
            stream.file.close()
        except OSError as error:
            self._break(number, stream, error)
            return
        stream.ended = ""
        self._conclude(number, stream)

    def on_cancel(self, header: Header, _body: bytes) -> None:
        number = header["stream"]
        with self._lock:
            self._outgoing.pop(number, None)
        stream = self._incoming.get(number)
        if stream is not None:
            _discard(stream)
            stream.ended = f"the stream was cancelled: {header['reason']}"
            self._conclude(number, stream)

    def connection_lost(self) -> None:
        with self._lock:
            self._outgoing.clear()
            broken = list(self._incoming.items())
        for number, stream in broken:
            if stream.ended is None:
                _discard(stream)
                stream.ended = CONNECTION_LOST
                self._conclude(number, stream)
        with self._lock:
            self._incoming.clear()

    def _get(self, number: int) -> _Incoming:
        stream = self._incoming.get(number)
        if stream is None:
            self._files += 1
            stream = self._incoming[number] = _Incoming(os.path.join(self._folder(), str(self._files)))
        return stream

    def _conclude(self, number: int, stream: _Incoming) -> None:
        with self._lock:
            if stream.ended is None or stream.arrived is None or self._incoming.get(number) is not stream:
                return
            del self._incoming[number]
        if stream.ended:
            stream.arrived(None, stream.ended)
        else:
            stream.arrived(stream.path, "")

    def _break(self, number: int, stream: _Incoming, error: OSError) -> None:
        _discard(stream)
        stream.ended = f"{DISK_FULL}: {error}" if error.errno in NO_SPACE else f"{type(error).__name__}: {error}"
        self._cancel(number, stream.ended)
        self._conclude(number, stream)

    def _cancel(self, number: int, reason: str) -> None:
        frame = encode({"type": "stream.cancel", "stream": number, "reason": reason[:1024]})
        self._sender.post(lambda: self._sender.send(frame))

    def _grant(self, number: int, size: int) -> None:
        frame = encode({"type": "stream.credit", "stream": number, "bytes": size})
        self._sender.post(lambda: self._sender.send(frame))


def _discard(stream: _Incoming) -> None:
    if stream.file is None:
        return
    try:
        stream.file.close()
    except OSError:
        pass  # a full disk; what could not be flushed is thrown away here
    stream.file = None
    os.unlink(stream.path)
