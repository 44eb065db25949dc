"""`python -m fabric_sdk._shim`: one function container's process, from connecting to the last acknowledgement."""

from __future__ import annotations

import os
import signal
import sys
import time
from queue import SimpleQueue
from typing import Any

from .. import _channel
from . import attempts, complaint, outcome, retryable
from .attempts import Attempt
from .batches import Batches
from .execute import EventLoop, Executor, MainThread, Threads
from .frames import Header, encode
from .link import Link
from .load import Code, EnterError, called, load
from .mixed import Mixed
from .operations import RunnerChannel
from .output import Output
from .slice import Slice
from .streams import CONNECTION_LOST, DISK_FULL

IMPORT_FAILED = 78
_LAST_WORDS_S = 5.0


class Shim:
    """Ties the parts together; the receiving thread calls its `on_...` methods."""

    #: Where streams are spooled, below scratch.
    _streams = "streams"

    def __init__(self, path: str) -> None:
        self._starts: SimpleQueue[Header] = SimpleQueue()
        self._scratch = ""
        self._executor: Executor | None = None
        self._code = Code({})
        self._stopping = False
        self._channel: RunnerChannel | None = None
        #: Of a module that was imported before.
        self._import_ms = 0.0
        #: What else `ready` tells.
        self._more: Header = {}
        self.link = Link(path, lambda: os.path.join(self._scratch, ".fabric", self._streams))
        self.output = Output(self._emit)
        streams = self.link.streams
        self.link.handlers.update(
            {
                "first start": self._on_start,
                "input": self._on_input,
                "inputs": self._on_inputs,
                "trim": self._on_trim,
                "cancel": self._on_cancel,
                "shutdown": lambda _header, _body: self.stop(),
                "stream.open": streams.on_open,
                "stream.data": streams.on_data,
                "stream.end": streams.on_end,
                "stream.cancel": streams.on_cancel,
                "stream.credit": streams.on_credit,
            }
        )

    def run(self) -> int:
        """Returns the exit status."""
        complaint.own_stderr = self.output.start()
        signal.signal(signal.SIGTERM, lambda _signal, _frame: self.stop())
        os.register_at_fork(after_in_child=behave_as_a_child)
        self.link.start()
        start = self._starts.get()
        began = time.perf_counter()
        try:
            executor = self._prepare(start)
        except BaseException as error:  # also what a module's sys.exit() raises
            return self._not_ready(error)
        self._executor = executor
        self.output.drain()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        header = {"type": "ready", "protocol": 1, "language": "python", "version": version, **self._more}
        import_ms = self._import_ms + (time.perf_counter() - began) * 1000
        self.link.ready({**header, "import_ms": round(import_ms, 3)})
        if self._stopping:
            executor.stop()
        executor.run()
        self._exit()
        self.output.drain()
        self.link.wait_acknowledged(_LAST_WORDS_S)
        return 0

    def stop(self) -> None:
        """Finish what runs, start nothing."""
        self._stopping = True
        for attempt in list(attempts.running.values()):
            if attempt.slice is not None:
                attempt.slice.trim()
        if self._executor is not None:
            self._executor.stop()

    def _prepare(self, start: Header) -> Executor:
        self._channel = RunnerChannel(self.link, start["scratch"])
        _channel.install(self._channel)
        retryable.install(start["function"].get("retry"))
        self._code = self._load(start)
        if start["slots"] > 1:
            self.output.attribute()
        executor = self._choose(start["function"], start["slots"])
        self._code.enter(getattr(executor, "loop", None))
        return executor

    def _load(self, start: Header) -> Code:
        return load(start)

    def _choose(self, function: Header, slots: int) -> Executor:
        functions, parts = self._code.functions, called(function)
        name, only = next(iter(parts.items()))
        if "batched" in only:
            lanes = max(1, slots // only["batched"]["max_batch_size"])
            return Batches(functions[name], self.link, self.output, only["batched"], lanes)
        asynchronous = [name for name, part in parts.items() if part["is_async"]]
        if not asynchronous:
            if slots > 1:
                return Threads(functions, self.link, self.output, slots)
            return MainThread(functions, self.link, self.output)
        loop = EventLoop(functions, self.link, self.output)
        if len(asynchronous) == len(parts):
            return loop
        threads = Threads(functions, self.link, self.output, slots)
        return Mixed({name: loop if name in asynchronous else threads for name in parts}, loop, threads)

    def _not_ready(self, error: BaseException) -> int:
        self.output.drain()
        code, where = "import_failed", ""
        if isinstance(error, EnterError) and error.__cause__ is not None:
            code, where, error = "enter_failed", f"{error} (@enter) failed: ", error.__cause__
        message = outcome.clip(f"{where}{type(error).__name__}: {error}", 16_384)
        frame = encode({"type": "import_failed", "code": code, "message": message, "traceback": outcome.trace(error)})
        if not self.link.send_last(frame, _LAST_WORDS_S):
            complaint.tell(f"the user's code could not be loaded: {outcome.trace(error)}")
        return IMPORT_FAILED

    def _exit(self) -> None:
        failure = self._code.exit()
        if failure is not None:
            print(f"an @exit method failed:\n{outcome.trace(failure)}", file=sys.stderr)

    def _on_start(self, header: Header, _body: bytes) -> None:
        if not self._scratch:
            self._scratch = header["scratch"]
            self._starts.put(header)

    def _on_input(self, header: Header, body: bytes) -> None:
        executor = self._executor
        attempt = Attempt(header, body)
        if executor is None or self._stopping or (attempt.id, attempt.generation) in attempts.running:
            return  # the runner sees from `ready`, or from our end, that it was not taken
        attempts.running[(attempt.id, attempt.generation)] = attempt
        if attempt.method not in self._code.functions:
            self.link.post(lambda: self.link.settle(attempt, outcome.unknown_method(attempt)))
        elif "stream" in header:
            self._await_stream(attempt, header["stream"], executor)
        else:
            executor.submit(attempt)

    def _on_inputs(self, header: Header, body: bytes) -> None:
        executor = self._executor
        attempt = Attempt(header, b"")
        if executor is None or self._stopping or attempt.key in attempts.running:
            return
        attempt.slice = Slice(attempt, header["first"], body, self.link)
        attempts.running[attempt.key] = attempt
        self.link.slices.keep(attempt.slice)
        executor.submit(attempt)

    def _on_trim(self, header: Header, _body: bytes) -> None:
        attempt = attempts.running.get((header["id"], header["generation"]))
        if attempt is None or attempt.slice is None:
            return
        frame = encode({**header, "type": "trimmed", "next": attempt.slice.trim()})
        self.link.post(lambda: self.link.send(frame))

    def _await_stream(self, attempt: Attempt, number: int, executor: Executor) -> None:
        attempt.stream = number

        def arrived(path: str | None, problem: str) -> None:
            attempt.stream = None
            attempt.path = path
            if path is not None:
                executor.submit(attempt)
            elif problem == CONNECTION_LOST:
                attempts.running.pop(attempt.key, None)
            else:
                code = "disk_full" if problem.startswith(DISK_FULL) else "cancelled"
                self.link.post(lambda: self.link.settle(attempt, outcome.not_received(attempt, code, problem)))

        self.link.streams.claim(number, arrived)

    def _on_cancel(self, header: Header, _body: bytes) -> None:
        attempt = attempts.running.get((header["id"], header["generation"]))
        if attempt is None or attempt.reason is not None or self._executor is None:
            return
        if "index" in header and (attempt.slice is None or attempt.slice.running != header["index"]):
            return  # that input has ended
        attempt.reason = header["reason"]
        if attempt.stream is not None:
            self.link.streams.refuse(attempt.stream, attempt.reason or "")
            self.link.post(lambda: self.link.settle(attempt, outcome.cancelled(attempt)))
            return
        self._executor.cancel(attempt)
        if self._channel is not None:
            self._channel.wake(attempt)
        if attempt.wake is not None:
            attempt.wake()

    def _emit(self, source: str, name: str | None, data: bytes) -> None:
        text = data.decode("utf-8", "replace").encode()
        header: dict[str, Any] = {"type": "log", "source": source}
        if name is not None:
            header["id"] = name
        self.link.log(header, text)


def behave_as_a_child() -> None:
    """A process the user's code forks ends at SIGTERM like any other."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGURG, signal.SIG_DFL)


def socket_path() -> str:
    """The runner's socket; without one there is nobody to serve."""
    path = os.environ.get("FABRIC_SOCKET")
    if not path:
        print("fabric shim: FABRIC_SOCKET must name the runner's socket", file=sys.stderr)
        sys.exit(64)
    return path


def main() -> None:
    shim = Shim(socket_path())
    status = shim.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
