"""`python -m fabric_sdk._shim.gang`: the parent of a gang's ranks in one container.

It has one thread and the user's module imported, so that a rank is a fork away. It starts and ends ranks when its
runner says so, and sends on what they print; each rank talks to the runner by itself. It owns their pipes, so that a
rank's last words outlive it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from . import complaint, rank
from .__main__ import socket_path
from .frames import PROTOCOL_VERSION, Decoder, Header, ProtocolError, encode
from .load import Code, load
from .outcome import clip, trace
from .parenthood import await_start, hold_output, receive, warn_of_threads
from .ranks import Ranks

_FOR_EVER = -1
IMPORT_FAILED = 78


class Gang:
    """Everything happens on the main thread, between two looks at the descriptors."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._runner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._decoder = Decoder()
        self._code = Code({})
        self._stopping = False
        self._ranks = Ranks(self._send)
        self._own_output: Any = None

    def run(self) -> int:
        """Returns the exit status."""
        start = await_start(self._runner, self._path, self._decoder)
        complaint.own_stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        began = time.perf_counter()
        self._own_output = hold_output()
        rank.open_streams()
        # Read once, by libraries that the module may import.
        os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("FABRIC_RANK_THREADS", "1"))
        try:
            self._code = load(start)
        except BaseException as error:  # also what a module's sys.exit() raises
            return self._not_ready(error)
        warn_of_threads("ranks")
        rank.flush_streams()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        header = {"type": "ready", "protocol": PROTOCOL_VERSION, "language": "python", "version": version}
        import_ms = round((time.perf_counter() - began) * 1000, 3)
        self._send(encode({**header, "running": [], "import_ms": import_ms}))
        self._tell_own_output()
        gc.collect()
        gc.freeze()  # what is shared with the ranks is not touched, and so not copied, by their collections
        try:
            self._serve(start)
        finally:
            self._ranks.kill_all()
        return 0

    def _send(self, frame: bytes) -> None:
        self._runner.sendall(frame)

    # serving

    def _serve(self, start: Header) -> None:
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.signal(signal.SIGTERM, self._on_term)
        poll = select.poll()
        for fd in (self._runner.fileno(), woken):
            poll.register(fd, select.POLLIN)
        self._ranks.watch(poll)
        while not self._stopping:
            ready = [fd for fd, _event in poll.poll(_FOR_EVER)]
            if woken in ready:
                os.read(woken, 512)
            for fd in ready:
                self._ranks.pull(fd)
            self._ranks.reap()
            self._tell_own_output()
            if self._runner.fileno() in ready:
                for header, _body in self._decoder.feed(receive(self._runner)):
                    self._on_frame(header, start)

    def _on_frame(self, header: Header, start: Header) -> None:
        kind = header.get("type")
        if kind == "launch":
            key = (header["id"], header["generation"])
            for one in header["ranks"]:
                if self._ranks.fork(key, one["rank"]):
                    self._ranks.leave_to_child()
                    self._runner.close()
                    rank.become(one["env"], self._code, start)
        elif kind == "halt":
            self._ranks.kill((header["id"], header["generation"]))
        elif kind == "shutdown":
            self._stopping = True
        elif kind != "ack":
            raise ProtocolError(f"unknown frame type {kind!r}")

    def _on_term(self, _signal: int, _frame: Any) -> None:
        self._stopping = True

    # what the module itself prints

    def _tell_own_output(self) -> None:
        while True:
            data = self._own_output.read(64 * 1024)
            if not data:
                return
            text = data.decode("utf-8", "replace").encode()
            self._send(encode({"type": "log", "source": "stdout"}, text))

    def _not_ready(self, error: BaseException) -> int:
        rank.flush_streams()
        self._tell_own_output()
        message = clip(f"{type(error).__name__}: {error}", 16_384)
        told = {"type": "import_failed", "code": "import_failed", "message": message, "traceback": trace(error)}
        self._send(encode(told))
        return IMPORT_FAILED


def main() -> None:
    """The container's program."""
    path = socket_path()
    try:
        status = Gang(path).run()
    except ConnectionError as error:
        # A gang does not outlive its runner: what it was told is lost with it.
        complaint.tell(f"the gang ends: {type(error).__name__}: {error}")
        status = 0
    except BaseException as error:
        complaint.tell(f"a defect ended this gang:\n{trace(error)}{type(error).__name__}: {error}")
        status = 70
    os._exit(status)


if __name__ == "__main__":
    main()
