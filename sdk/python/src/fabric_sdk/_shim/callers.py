"""Where the code of a batch runs, on the main thread, on threads or on a loop, and how it is interrupted there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from ..errors import InputCancelled
from .attempts import Attempt
from .execute import INTERRUPT


class Batch:
    """Attempts that one call of the function serves."""

    __slots__ = ("handle", "interrupted", "live", "raised")

    def __init__(self, live: list[Attempt]) -> None:
        #: Those that wait for their result.
        self.live = live
        #: Shall the code end?
        self.interrupted = False
        #: Has it been told?
        self.raised = False
        #: The thread or task that runs it.
        self.handle: Any = None


class Caller(Protocol):
    """Where the function runs, and how it is interrupted there."""

    def call(self, batch: Batch, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The function's value; anything may be raised."""

    def interrupt(self, batch: Batch) -> None:
        """Raise in the code, soon; `interrupted` is set already."""


class OnMainThread:
    """Plain functions, one batch at a time."""

    def __init__(self) -> None:
        self._thread = threading.main_thread().ident or 0
        self._armed: Batch | None = None
        signal.signal(INTERRUPT, self._signalled)

    def call(self, batch: Batch, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        try:
            self._armed = batch
            if batch.interrupted:
                raise InputCancelled("cancelled")
            return function(*args, **kwargs)
        finally:
            self._armed = None

    def interrupt(self, batch: Batch) -> None:
        signal.pthread_kill(self._thread, INTERRUPT)

    def _signalled(self, _signal: int, _frame: Any) -> None:
        batch = self._armed
        if batch is not None and batch.interrupted and not batch.raised:
            batch.raised = True
            raise InputCancelled("cancelled")


class OnThreads:
    """Plain functions, several batches at a time."""

    def __init__(self) -> None:
        import ctypes

        self._raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        self._raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
        self._nothing = ctypes.py_object()
        self._lock = threading.Lock()

    def call(self, batch: Batch, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        try:
            with self._lock:
                batch.handle = threading.get_ident()
            if batch.interrupted:
                raise InputCancelled("cancelled")
            return function(*args, **kwargs)
        finally:
            with self._lock:  # what was set and not raised yet must not hit the next batch
                self._raise_in(batch.handle, self._nothing)
                batch.handle = None

    def interrupt(self, batch: Batch) -> None:
        with self._lock:
            if batch.handle is not None:
                self._raise_in(batch.handle, InputCancelled)


class OnLoop:
    """Coroutine functions."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def call(self, batch: Batch, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        ended: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

        async def run() -> None:
            try:
                ended.put((await function(*args, **kwargs), None))
            except BaseException as error:
                ended.put((None, error))

        def start() -> None:
            batch.handle = self._loop.create_task(run())
            if batch.interrupted:
                batch.handle.cancel()

        self._loop.call_soon_threadsafe(start)
        value, error = ended.get()
        if error is not None:
            raise error
        return value

    def interrupt(self, batch: Batch) -> None:
        self._loop.call_soon_threadsafe(lambda: batch.handle and batch.handle.cancel())
