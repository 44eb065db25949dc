"""`python -m fabric_sdk._shim.parent`: a container that outlives the process its inputs run in.

It has one thread and the user's module imported. Its worker is a fork of it: an ordinary shim whose code is there
already. When the worker dies, the next one is forked, and tells the runner how the one before it ended.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from typing import Any

from . import complaint, rank
from .__main__ import Shim, socket_path
from .execute import Executor
from .frames import Decoder, Header
from .load import Code, load
from .outcome import trace
from .parenthood import await_start, hold_output, warn_of_threads
from .ranks import kill_leftovers, oom_kills

#: What a worker tells its parent: that inputs may come, and that it ends as it was asked to.
_READY, _DONE = b"r", b"d"
_CHUNK = 32 * 1024
#: A worker that lived so long did not die of how it started.
_SETTLED_S = 10.0
_LONGEST_PAUSE_S = 10.0


def pause_s(deaths: int) -> float:
    """Before the next worker, after so many that died young: none after the first, which an input may have ended."""
    return 0.0 if deaths < 2 else min(0.1 * 2.0 ** (deaths - 2), _LONGEST_PAUSE_S)


class Worker(Shim):
    """A shim whose code is loaded already, or could not be."""

    def __init__(self, path: str, loaded: Code | BaseException, import_ms: float, more: Header, held: bytes, to: int):
        super().__init__(path)
        self._loaded = loaded
        self._import_ms = import_ms
        self._more = more
        self._held = held
        self._to = to

    def run(self) -> int:
        status = super().run()
        os.write(self._to, _DONE)
        return status

    def _load(self, start: Header) -> Code:
        for at in range(0, len(self._held), _CHUNK):
            os.write(1, self._held[at : at + _CHUNK])
        if isinstance(self._loaded, BaseException):
            raise self._loaded
        return self._loaded

    def _prepare(self, start: Header) -> Executor:
        executor = super()._prepare(start)
        os.write(self._to, _READY)
        return executor


class Parent:
    def __init__(self, path: str) -> None:
        self._path = path
        self._worker = 0
        self._stopping = False
        self._own = [os.dup(fd) for fd in (1, 2)]

    def run(self) -> int:
        """Returns the exit status: that of the worker it did not replace."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as runner:
            start = await_start(runner, self._path, Decoder())
        complaint.own_stderr = os.fdopen(os.dup(self._own[1]), "w", buffering=1, errors="backslashreplace")
        output = hold_output()
        rank.open_streams()
        signal.signal(signal.SIGTERM, self._on_term)
        began = time.perf_counter()
        loaded: Code | BaseException
        try:
            loaded = load(start)
        except BaseException as error:  # also what a module's sys.exit() raises
            loaded = error
        import_ms = (time.perf_counter() - began) * 1000
        warn_of_threads("workers")
        rank.flush_streams()
        held = output.read()
        gc.collect()
        gc.freeze()  # what is shared with workers is not touched, and so not copied, by their collections
        more: Header = {}
        count = in_a_row = 0
        while True:
            killed_before = oom_kills()
            began = time.perf_counter()
            code, replace = self._work(loaded, import_ms, more, held)
            if not replace or self._stopping:
                return code
            count += 1
            in_a_row = in_a_row + 1 if time.perf_counter() - began < _SETTLED_S else 1
            time.sleep(pause_s(in_a_row))
            more = {"after": {"count": count, "code": code, "out_of_memory": oom_kills() > killed_before}}
            held, import_ms = b"", 0.0

    def _work(self, loaded: Code | BaseException, import_ms: float, more: Header, held: bytes) -> tuple[int, bool]:
        """One worker, from its fork to its end: how it ended, and whether another one is to take its place."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._become(Worker(self._path, loaded, import_ms, more, held, write))
        self._worker = pid
        os.close(write)
        os.set_blocking(read, False)
        ended = 0
        while ended != pid:  # in a container, orphans are ours, too
            ended, status = os.waitpid(-1, 0)
        self._worker = 0
        kill_leftovers(pid)
        try:
            said = os.read(read, 16)
        except BlockingIOError:  # something it left behind still holds the other end
            said = b""
        os.close(read)
        code = os.waitstatus_to_exitcode(status)
        return (128 - code if code < 0 else code), _READY in said and _DONE not in said

    def _become(self, worker: Worker) -> None:
        try:
            os.setsid()  # a group of its own, that is killed as one
            gc.unfreeze()
            for fd, own in zip((1, 2), self._own):
                os.dup2(own, fd)
                os.close(own)
            status = worker.run()
            rank.flush_streams()
        except BaseException as error:
            complaint.tell(f"a defect ended this worker:\n{trace(error)}{type(error).__name__}: {error}")
            status = 70
        os._exit(status)

    def _on_term(self, _signal: int, _frame: Any) -> None:
        self._stopping = True
        if self._worker:
            os.kill(self._worker, signal.SIGTERM)
        else:
            os._exit(128 + signal.SIGTERM)


def main() -> None:
    """The container's program."""
    path = socket_path()
    try:
        status = Parent(path).run()
    except BaseException as error:
        complaint.tell(f"a defect ended this container:\n{trace(error)}{type(error).__name__}: {error}")
        status = 70
    os._exit(status)


if __name__ == "__main__":
    main()
