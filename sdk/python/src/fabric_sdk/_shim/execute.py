"""Runs inputs: on the main thread, on threads, or on one asyncio loop, and raises in user code when one shall end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from inspect import isasyncgenfunction, isgeneratorfunction
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Optional, Protocol

from ..errors import InputCancelled
from . import attempts, outcome, saving
from .arguments import arguments
from .attempts import Attempt
from .link import Link, Outcome
from .output import Output
from .slice import run_slice, run_slice_async
from .yields import drive, drive_async

#: Its default action is to be ignored, and next to nobody uses it.
INTERRUPT = signal.SIGURG


#: By method; a plain function's is None.
Functions = Mapping[Optional[str], Callable[..., Any]]


class Executor(Protocol):
    """One per container, chosen by the function's kind and its slots."""

    def submit(self, attempt: Attempt) -> None:
        """Start the attempt; called by the receiving thread."""

    def cancel(self, attempt: Attempt) -> None:
        """Raise in the attempt's code; its reason is set already."""

    def stop(self) -> None:
        """Let `run` return once everything submitted has ended; may be called from a signal handler."""

    def run(self) -> None:
        """Runs on the main thread until stopped."""


class MainThread:
    """One slot, plain functions: they find themselves on the main thread, as in a script."""

    def __init__(self, functions: Functions, link: Link, output: Output) -> None:
        self._functions = functions
        self._yields = {name for name, function in functions.items() if isgeneratorfunction(function)}
        self._link = link
        self._output = output
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self._armed: Attempt | None = None
        self._thread = threading.main_thread().ident or 0
        signal.signal(INTERRUPT, self._interrupted)
        self.submit = self._inbox.put

    def cancel(self, attempt: Attempt) -> None:
        signal.pthread_kill(self._thread, INTERRUPT)

    def stop(self) -> None:
        self._inbox.put(None)

    def run(self) -> None:
        take, drain, settle = self._inbox.get, self._output.drain, self._link.settle
        while True:
            attempt = take()
            if attempt is None:
                return
            if attempt.slice is not None:
                run_slice(attempt.slice, self._functions[attempt.method], self._arm, self._disarm)
                drain(attempt)
                self._link.slices.settle(attempt.slice)
                continue
            result = self._attempt(attempt)
            drain(attempt)
            settle(attempt, result)

    def _interrupted(self, _signal: int, _frame: Any) -> None:
        attempt = self._armed
        if attempt is not None and attempt.reason is not None and not attempt.delivered:
            attempt.delivered = True
            raise InputCancelled(attempt.reason)

    def _attempt(self, attempt: Attempt) -> Outcome:
        began = perf_counter()
        try:
            try:
                self._armed = attempt
                if attempt.reason is not None:
                    return outcome.cancelled(attempt)
                try:
                    args, kwargs = arguments(attempt)
                except Exception as error:
                    return outcome.undecodable(attempt, error)
                began = perf_counter()
                value = self._functions[attempt.method](*args, **kwargs)
                if attempt.method in self._yields:
                    value = drive(attempt, value, self._link, self._arm, self._disarm)
                if attempt.behind is not None:
                    attempt.behind.result()
            finally:
                self._armed = None
        except BaseException as error:
            self._armed = None
            saving.end(attempt, error)
            return outcome.raised(attempt, error, (perf_counter() - began) * 1000)
        run_ms = (perf_counter() - began) * 1000
        if attempt.delivered:
            return outcome.cancelled(attempt, run_ms)
        return outcome.returned(attempt, value, run_ms)

    def _arm(self, attempt: Attempt) -> None:
        self._armed = attempt

    def _disarm(self, _attempt: Attempt) -> None:
        self._armed = None


class Threads:
    """Several slots, plain functions: a thread for each input that runs."""

    def __init__(self, functions: Functions, link: Link, output: Output, slots: int) -> None:
        import ctypes

        self._raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        self._raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)
        self._nothing = ctypes.py_object()
        self._functions = functions
        self._yields = {name for name, function in functions.items() if isgeneratorfunction(function)}
        self._link = link
        self._output = output
        self._slots = slots
        self._threads: list[threading.Thread] = []
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self._stopped: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, attempt: Attempt) -> None:
        if len(self._threads) < min(self._slots, len(attempts.running)):
            thread = threading.Thread(target=self._work, name=f"fabric-slot-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._inbox.put(attempt)

    def cancel(self, attempt: Attempt) -> None:
        with self._lock:
            if attempt.handle is not None and not attempt.delivered:
                attempt.delivered = True
                self._raise_in(attempt.handle, InputCancelled)

    def stop(self) -> None:
        self._stopped.put(None)

    def run(self) -> None:
        self._stopped.get()
        for _thread in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            attempt = self._inbox.get()
            if attempt is None:
                return
            attempts.here.set(attempt)
            if attempt.slice is not None:
                run_slice(attempt.slice, self._functions[attempt.method], self._arm, self._disarm)
                self._output.drain(attempt)
                self._link.slices.settle(attempt.slice)
            else:
                result = self._attempt(attempt)
                self._output.drain(attempt)
                self._link.settle(attempt, result)
            attempts.here.set(None)

    def _attempt(self, attempt: Attempt) -> Outcome:
        began = perf_counter()
        try:
            try:
                args, kwargs = arguments(attempt)
            except Exception as error:
                return outcome.undecodable(attempt, error)
            try:
                self._arm(attempt)
                if attempt.reason is not None:
                    return outcome.cancelled(attempt)
                began = perf_counter()
                value = self._functions[attempt.method](*args, **kwargs)
                if attempt.method in self._yields:
                    value = drive(attempt, value, self._link, self._arm, self._disarm)
                if attempt.behind is not None:
                    attempt.behind.result()
            finally:
                self._disarm(attempt)
        except BaseException as error:
            self._disarm(attempt)
            saving.end(attempt, error)
            return outcome.raised(attempt, error, (perf_counter() - began) * 1000)
        run_ms = (perf_counter() - began) * 1000
        if attempt.delivered:
            return outcome.cancelled(attempt, run_ms)
        return outcome.returned(attempt, value, run_ms)

    def _arm(self, attempt: Attempt) -> None:
        with self._lock:
            attempt.handle = threading.get_ident()

    def _disarm(self, attempt: Attempt) -> None:
        """An exception that was set and not raised yet must not hit the next input."""
        with self._lock:
            if attempt.handle is not None:
                self._raise_in(attempt.handle, self._nothing)
                attempt.handle = None


class EventLoop:
    """Coroutine functions and asynchronous generators: all inputs on one asyncio loop."""

    def __init__(self, functions: Functions, link: Link, output: Output) -> None:
        import asyncio

        self._asyncio = asyncio
        self._functions = functions
        self._yields = {name for name, function in functions.items() if isasyncgenfunction(function)}
        self._link = link
        self._output = output
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._stopping = asyncio.Event()
        self._tasks: set[Any] = set()

    def submit(self, attempt: Attempt) -> None:
        self.loop.call_soon_threadsafe(self._start, attempt)

    def cancel(self, attempt: Attempt) -> None:
        self.loop.call_soon_threadsafe(self._cancel, attempt)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)

    def run(self) -> None:
        self.loop.run_until_complete(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        while self._tasks:
            await self._asyncio.wait(self._tasks)

    def _start(self, attempt: Attempt) -> None:
        task = self.loop.create_task(self._run(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt.handle is not None and not attempt.delivered:
            attempt.delivered = True
            attempt.handle.cancel()

    async def _run(self, attempt: Attempt) -> None:
        attempts.here.set(attempt)
        attempt.handle = self._asyncio.current_task()
        if attempt.slice is not None:
            await run_slice_async(attempt.slice, self._functions[attempt.method])
            self._output.drain(attempt)
            self._link.slices.settle(attempt.slice)
            return
        result = await self._attempt(attempt)
        self._output.drain(attempt)
        self._link.settle(attempt, result)

    async def _attempt(self, attempt: Attempt) -> Outcome:
        if attempt.reason is not None:
            return outcome.cancelled(attempt)
        try:
            args, kwargs = arguments(attempt)
        except Exception as error:
            return outcome.undecodable(attempt, error)
        began = perf_counter()
        try:
            called = self._functions[attempt.method](*args, **kwargs)
            value = await (drive_async(attempt, called, self._link) if attempt.method in self._yields else called)
            if attempt.behind is not None:
                await self._asyncio.wrap_future(attempt.behind)
        except BaseException as error:
            await saving.end_async(attempt, error)
            return outcome.raised(attempt, error, (perf_counter() - began) * 1000)
        run_ms = (perf_counter() - began) * 1000
        if attempt.delivered:
            return outcome.cancelled(attempt, run_ms)
        return outcome.returned(attempt, value, run_ms)
