"""A slice of a map: inputs that one slot runs one after the other, their outcomes sent as they come."""

from __future__ import annotations

import json
import pickle
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import InputCancelled
from . import outcome
from .frames import Header, encode
from .link import Link
from .slices import FLUSH_S

if TYPE_CHECKING:
    from .attempts import Attempt

#: A longer line does not fit into a frame.
MAX_LINE_BYTES = 768 * 1024
_FRAME_BYTES = 256 * 1024

_decode_json = json.JSONDecoder().decode


class Undecodable(Exception):
    """The arguments of an input do not open; its cause says why."""


class Slice:
    """Iterate over it to run its inputs, then `close`. What it told is kept until the runner has acknowledged it."""

    def __init__(self, attempt: Attempt, first: int, body: bytes, link: Link) -> None:
        self.attempt = attempt
        self.first = first
        self._lines = body.split(b"\n")
        self._limit = len(self._lines)
        self._next = 0
        self._link = link
        #: Taken again by a signal handler that trims.
        self._lock = threading.RLock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._told_count = 0
        self._run_ms = 0.0
        self._began = self._flushed = perf_counter()
        #: Its frames so far.
        self.told: list[bytes] = []
        self._closed = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        attempt = self.attempt
        while True:
            with self._lock:
                if attempt.reason == "timed_out":  # of the input before; the others have their own time
                    attempt.reason, attempt.delivered = None, False
                at = self._next
                if at >= self._limit or attempt.reason is not None:
                    return
                self._next = at + 1
            self._began = perf_counter()
            yield self.first + at, self._lines[at]
            now = perf_counter()
            self._run_ms += (now - self._began) * 1000
            if now - self._flushed > FLUSH_S or self._waiting_bytes > _FRAME_BYTES:
                self.flush()

    @property
    def running(self) -> int:
        """Index of the input that runs."""
        return self.first + self._next - 1

    def trim(self) -> int:
        """Start no further input; the index of the first that will not be started."""
        with self._lock:
            self._limit = min(self._limit, self._next)
            return self.first + self._limit

    def arguments(self, line: bytes) -> tuple[Any, Any]:
        """Positional and named arguments. Opens the caller's pickle: anything may be raised."""
        try:
            call = _decode_json(line.decode())
            if type(call) is list:
                return call, {}
            if "pickle" in call:
                args, kwargs = pickle.loads(b64decode(call["pickle"]))
                return args, kwargs
        except Exception as error:
            raise Undecodable from error
        return call.get("args", ()), call.get("kwargs", {})

    def returned(self, index: int, value: Any) -> None:
        """The input's function returned."""
        if self.attempt.delivered:
            self.raised(index, InputCancelled(self.attempt.reason))
            return
        try:
            encoding, data = outcome.encoded(self.attempt, value)
        except (MemoryError, outcome.NotSendable) as error:
            self.raised(index, error)
            return
        if encoding == "json":
            line = b'{"index":%d,"result":%b}\n' % (index, data)
        else:
            line = b'{"index":%d,"pickle":"%b"}\n' % (index, b64encode(data))
        if len(line) > MAX_LINE_BYTES:
            message = f"the result of input {index} has {len(line)} bytes; inside a map at most {MAX_LINE_BYTES} travel"
            self._failed(index, {"code": "result_too_large", "message": message})
        else:
            self._tell(line)

    def raised(self, index: int, error: BaseException) -> None:
        """The input's function raised, or was interrupted."""
        if isinstance(error, Undecodable) and error.__cause__ is not None:
            self._failed(index, outcome.undecodable_error(error.__cause__))
        else:
            self._failed(index, *outcome.explain(self.attempt, error))

    def close(self) -> None:
        """Nothing of it runs any more."""
        self.flush(last=True)

    def flush(self, *, last: bool = False) -> None:
        """Send the outcomes that wait."""
        with self._lock:
            count = len(self._waiting)
            if self._closed or (count == 0 and not last):
                return
            lines = self._waiting[:count]
            del self._waiting[:count]
            head: Header = {"type": "results", "id": self.attempt.id, "generation": self.attempt.generation}
            frame = encode(
                {**head, "first": self.first + self._told_count, "run_ms": round(self._run_ms, 3), "last": last},
                b"".join(lines),
            )
            self._waiting_bytes = 0
            self._told_count += count
            self._run_ms = 0.0
            self._flushed = perf_counter()
            self._closed = last
            self._link.send_kept(self.told, frame)

    def _failed(self, index: int, error: dict[str, Any], exception: bytes = b"") -> None:
        line: dict[str, Any] = {"index": index, "error": error}
        if exception:
            line["exception"] = b64encode(exception).decode()
        self._tell(json.dumps(line).encode() + b"\n")

    def _tell(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > _FRAME_BYTES:
            self.flush()
        self._waiting.append(line)
        self._waiting_bytes += len(line)


def run_slice(
    slice: Slice, function: Callable[..., Any], arm: Callable[[Attempt], None], disarm: Callable[[Attempt], None]
) -> None:
    """Run its inputs on this thread; between `arm` and `disarm` an input may be interrupted."""
    attempt = slice.attempt
    for index, line in slice:
        try:
            try:
                arm(attempt)
                args, kwargs = slice.arguments(line)
                value = function(*args, **kwargs)
            finally:
                disarm(attempt)
        except BaseException as error:
            disarm(attempt)
            slice.raised(index, error)
        else:
            slice.returned(index, value)


async def run_slice_async(slice: Slice, function: Callable[..., Any]) -> None:
    """Run its inputs in this asyncio task, which may be cancelled to interrupt one."""
    import asyncio

    attempt = slice.attempt
    for index, line in slice:
        try:
            await asyncio.sleep(0)  # the loop's other inputs have their turn
            args, kwargs = slice.arguments(line)
            value = await function(*args, **kwargs)
        except BaseException as error:
            uncancel = getattr(attempt.handle, "uncancel", None)  # Python 3.11 counts cancellations
            if attempt.delivered and uncancel is not None:
                uncancel()
            slice.raised(index, error)
        else:
            slice.returned(index, value)
