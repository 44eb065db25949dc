"""The connection to the runner: made again whenever it breaks, with outcomes kept until they are acknowledged."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from . import attempts, complaint
from .attempts import Attempt, Key
from .frames import PROTOCOL_VERSION, Decoder, Header, ProtocolError, encode
from .held_logs import HeldLogs
from .questions import Questions
from .slices import FLUSH_S, Slices
from .streams import Streams
from .unstored import Unstored

Handler = Callable[[Header, bytes], None]

_FIRST_DELAY_S = 0.02
_LONGEST_DELAY_S = 1.0
_RECEIVE_BYTES = 256 * 1024
#: Streamed results that await their acknowledgement; a runner bounds what one container may open.
_STREAMS_AT_ONCE = 32


class Outcome:
    """How an attempt ended, as it is sent; `data` goes by stream because it is too long for a frame."""

    __slots__ = ("data", "frame", "header")

    def __init__(self, frame: bytes | None, header: Header | None = None, data: bytes = b"") -> None:
        self.frame = frame
        self.header = header
        self.data = data


class Link:
    """Any thread may send; one thread of its own receives, another sends what must not hold up the receiver."""

    def __init__(self, path: str, scratch_streams: Callable[[], str]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._ready: Callable[[], bytes] | None = None
        self._outcomes: dict[Key, Outcome] = {}
        self._held_outcomes: deque[Outcome] = deque()
        self._streamed: set[Key] = set()
        self._unstored: dict[Key, Unstored] = {}
        self._settled = threading.Condition(self._lock)
        self._held_logs = HeldLogs()
        self._posts: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self.handlers: dict[str, Handler] = {"yield.ack": self._chunks_stored}
        self.slices = Slices(self)
        self.streams = Streams(self, scratch_streams)
        self._questions = Questions(self._write, self.streams)
        self.lost: list[Callable[[], None]] = [self.streams.connection_lost]

    def start(self) -> None:
        for name, body in (("fabric-receive", self._receive_for_ever), ("fabric-post", self._post_for_ever)):
            threading.Thread(target=_or_die, args=(body,), name=name, daemon=True).start()

    # sending

    def post(self, act: Callable[[], Any]) -> None:
        """Have `act` done by the posting thread: for whoever may not block on the socket or may be interrupted."""
        self._posts.put(act)

    def send(self, frame: bytes) -> bool:
        """False when there is no connection; the frame is then lost."""
        with self._lock:
            return self._write(frame)

    def send_kept(self, kept: list[bytes], frame: bytes) -> None:
        """Send a frame that a reconnection sends again: in one step, or it would be sent twice."""
        with self._lock:
            kept.append(frame)
            self._write(frame)

    def log(self, header: Header, text: bytes) -> None:
        """Output is kept while there is no connection."""
        frame = encode(header, text)
        with self._lock:
            if self._write(frame):
                return
            self._held_logs.add(frame, max(1, text.count(b"\n")))

    def ask(self, number: int, header: Header, body: bytes = b"") -> None:
        """Send a request, again after each reconnection until `forget`."""
        with self._lock:
            self._questions.add(number, header, body)
        self.post(lambda: self._locked(lambda: self._questions.write(number)))

    def forget(self, number: int) -> None:
        with self._lock:
            has_room = self._questions.forget(number)
        if has_room:
            self.post(lambda: self._locked(self._questions.write_held))

    def offer_chunk(self, attempt: Attempt, encoding: str, data: bytes) -> bool:
        """Send the next chunk, again until it is stored; False when `attempt.wake` has to be waited for first."""
        with self._lock:
            unstored = self._unstored.get(attempt.key)
            if unstored is None:
                unstored = self._unstored[attempt.key] = Unstored(attempt)
            frame = unstored.take(encoding, data)
            if frame is not None:
                self._write(frame)
            return frame is not None

    def settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """The attempt leaves the user's hands; its outcome is sent until it is acknowledged."""
        key = (attempt.id, attempt.generation)
        with self._lock:
            attempts.running.pop(key, None)
            self._outcomes[key] = outcome
            self._write_outcome(outcome)

    def ready(self, header: Header) -> None:
        """The user's module is imported: say so now and on every reconnection."""
        with self._lock:
            self._ready = lambda: encode({**header, "running": [_name(key) for key in list(attempts.running)]})
            self._greet()

    def wait_acknowledged(self, timeout: float) -> bool:
        with self._settled:
            return self._settled.wait_for(lambda: not self._outcomes and not self.slices.kept, timeout)

    def send_last(self, frame: bytes, timeout: float) -> bool:
        """Send a frame after which the process ends, waiting for a connection if need be."""
        deadline = time.monotonic() + timeout
        with self._settled:
            self._ready = lambda: frame
            while time.monotonic() < deadline:
                if self._socket is not None and self._write(frame):
                    self._held_logs.flush(self._write)
                    return True
                self._settled.wait(max(0.0, deadline - time.monotonic()))
        return False

    # with the lock held

    def _write(self, frame: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendall(frame)
        except OSError:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        """The receiving thread notices the shutdown and connects again."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
            self._socket = None

    def _write_outcome(self, outcome: Outcome) -> None:
        if outcome.frame is not None:
            self._write(outcome.frame)
        elif len(self._streamed) >= _STREAMS_AT_ONCE:
            self._held_outcomes.append(outcome)
        elif outcome.header is not None and self._socket is not None:
            self._streamed.add((outcome.header["id"], outcome.header["generation"]))
            number = self.streams.offer(outcome.data)
            self._write(encode({**outcome.header, "stream": number}))
            self._write(encode({"type": "stream.open", "stream": number, "name": f"result {outcome.header['id']}"}))

    def _locked(self, act: Callable[[], object]) -> None:
        with self._lock:
            act()

    def _greet(self) -> None:
        if self._ready is not None:
            self._write(self._ready())
        self._held_logs.flush(self._write)
        for unstored in list(self._unstored.values()):
            for frame in unstored.frames():
                self._write(frame)
        self._streamed.clear()
        self._held_outcomes.clear()
        for outcome in list(self._outcomes.values()):
            self._write_outcome(outcome)
        for frame in self.slices.frames():
            self._write(frame)
        self._questions.write_all()

    # receiving

    def _receive_for_ever(self) -> None:
        delay = _FIRST_DELAY_S
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self._path)
                if self._receive(connection):
                    delay = _FIRST_DELAY_S
            except (ProtocolError, KeyError) as error:
                complaint.tell(f"dropping the connection: {type(error).__name__}: {error}")
            except OSError:
                pass  # no runner there now: it is coming back, or it will end this container
            finally:
                self._lose(connection)
            time.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_S)

    def _receive(self, connection: socket.socket) -> bool:
        decoder = Decoder()
        # Room made once: the system would map and unmap so much of it at each call.
        room = memoryview(bytearray(_RECEIVE_BYTES))
        receive = connection.recv_into
        handlers = self.handlers
        started = False
        while True:
            count = receive(room)
            if not count:
                return started
            for header, body in decoder.feed(room[:count].tobytes()):
                kind = header.get("type")
                handler = handlers.get(kind) if isinstance(kind, str) else None
                if handler is not None:
                    handler(header, body)
                elif kind == "start":
                    self._started(connection, header)
                    started = True
                elif kind == "ack":
                    self._acknowledged(header)
                else:
                    raise ProtocolError(f"unknown frame type {kind!r}")

    def _started(self, connection: socket.socket, header: Header) -> None:
        if header["protocol"] != PROTOCOL_VERSION:
            raise ProtocolError(f"the runner speaks protocol {header['protocol']}, this shim {PROTOCOL_VERSION}")
        self.handlers["first start"](header, b"")
        with self._settled:
            self._socket = connection
            self._greet()
            self._settled.notify_all()

    def _chunks_stored(self, header: Header, _body: bytes) -> None:
        with self._lock:
            unstored = self._unstored.get((header["id"], header["generation"]))
            if unstored is not None:
                unstored.stored(header["seq"])

    def _acknowledged(self, header: Header) -> None:
        with self._settled:
            key = (header["id"], header["generation"])
            self._outcomes.pop(key, None)
            self._unstored.pop(key, None)
            self.slices.kept.pop(key, None)
            if key in self._streamed:
                self._streamed.remove(key)
                if self._held_outcomes:
                    self._write_outcome(self._held_outcomes.popleft())
            if not self._outcomes and not self.slices.kept:
                self._settled.notify_all()

    def _lose(self, connection: socket.socket) -> None:
        with self._lock:
            if self._socket is connection:
                self._socket = None
        connection.close()
        for act in self.lost:
            act()

    def _post_for_ever(self) -> None:
        while True:
            try:
                act = self._posts.get(timeout=FLUSH_S if self.slices.kept else None)
            except Empty:
                act = self.slices.flush
            act()


def _name(key: Key) -> Header:
    return {"id": key[0], "generation": key[1]}


def _or_die(body: Callable[[], None]) -> None:
    """A shim without one of these threads could only hang; a container that ended is replaced."""
    try:
        body()
    except BaseException:
        complaint.tell(f"a defect ended this container:\n{traceback.format_exc()}")
        os._exit(70)
