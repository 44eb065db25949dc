"""Runs a batched function: collects inputs, calls it once with lists, and gives each input its own result.

A cancelled input leaves its batch at once and its result is dropped; the code is interrupted only for the last one.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic, perf_counter
from typing import Any

from . import attempts, outcome
from .arguments import arguments
from .attempts import Attempt
from .callers import Batch, Caller, OnLoop, OnMainThread, OnThreads
from .link import Link, Outcome
from .output import Output


class Batches:
    """The executor of a batched function; `lanes` batches run at the same time."""

    def __init__(
        self, function: Callable[..., Any], link: Link, output: Output, batched: dict[str, Any], lanes: int
    ) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        self._link = link
        self._output = output
        self._size: int = batched["max_batch_size"]
        self._wait_s: float = batched["wait_ms"] / 1000
        self._lanes = lanes
        self._changed = threading.Condition()
        self._pending: deque[tuple[float, Attempt]] = deque()
        self._stopping = False
        self.loop: Any = None
        if inspect.iscoroutinefunction(function):
            import asyncio

            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
            self._caller: Caller = OnLoop(self.loop)
        else:
            self._caller = OnMainThread() if lanes == 1 else OnThreads()

    def submit(self, attempt: Attempt) -> None:
        with self._changed:
            self._pending.append((monotonic(), attempt))
            self._changed.notify_all()

    def cancel(self, attempt: Attempt) -> None:
        with self._changed:
            batch = attempt.handle
            if batch is not None:
                if batch.live == [attempt]:
                    attempt.delivered = True
                    batch.interrupted = True
                    self._caller.interrupt(batch)
                    return
                batch.live.remove(attempt)
                attempt.handle = None
            else:
                waiting = [one for one in self._pending if one[1] is not attempt]
                if len(waiting) == len(self._pending):
                    return  # its outcome is on its way
                self._pending = deque(waiting)
        self._link.post(lambda: self._link.settle(attempt, outcome.cancelled(attempt)))

    def stop(self) -> None:
        # not here: a signal handler may have interrupted whoever holds the lock
        self._link.post(self._stop)

    def run(self) -> None:
        if isinstance(self._caller, OnMainThread):
            self._serve()
            return
        threads = [
            threading.Thread(target=self._serve, name=f"fabric-batch-{lane}", daemon=True)
            for lane in range(self._lanes)
        ]
        for thread in threads:
            thread.start()
        if self.loop is not None:
            self.loop.run_until_complete(self._joined(threads))
        for thread in threads:
            thread.join()

    async def _joined(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            await self.loop.run_in_executor(None, thread.join)

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            batch = self._take()
            if batch is None:
                return
            self._run(batch)

    def _take(self) -> Batch | None:
        """The next batch, when it is full or its time is over; None at the end."""
        with self._changed:
            while True:
                while not self._pending:
                    if self._stopping:
                        return None
                    self._changed.wait()
                due = self._pending[0][0] + self._wait_s
                while 0 < len(self._pending) < self._size and not self._stopping and monotonic() < due:
                    self._changed.wait(max(0.0, due - monotonic()))
                if self._pending:
                    break
            batch = Batch([self._pending.popleft()[1] for _ in range(min(self._size, len(self._pending)))])
            for attempt in batch.live:
                attempt.handle = batch
            return batch

    def _run(self, batch: Batch) -> None:
        calls = dict(self._open(batch))
        inside = list(calls)
        if not inside:
            return
        args, kwargs = self._columns(list(calls.values()))
        attempts.batch.set(batch.live)
        began = perf_counter()
        try:
            values = self._caller.call(batch, self._function, args, kwargs)
        except BaseException as error:
            run_ms, raised = (perf_counter() - began) * 1000, error
            self._conclude(batch, lambda attempt: outcome.raised(attempt, raised, run_ms))
            return
        run_ms = (perf_counter() - began) * 1000
        problem = _misfit(values, len(inside))
        if problem:
            self._conclude(batch, lambda attempt: outcome.batch_invalid(attempt, problem, run_ms))
            return
        value_of = dict(zip((attempt.key for attempt in inside), values))
        self._conclude(
            batch,
            lambda attempt: (
                outcome.cancelled(attempt, run_ms)
                if attempt.delivered
                else outcome.returned(attempt, value_of[attempt.key], run_ms)
            ),
        )

    def _open(self, batch: Batch) -> Iterator[tuple[Attempt, inspect.BoundArguments]]:
        """Each input's arguments; what does not open or fit fails by itself."""
        for attempt in list(batch.live):
            try:
                args, kwargs = arguments(attempt)
                bound = self._signature.bind(*args, **kwargs)
            except Exception as error:
                self._leave(batch, attempt, outcome.undecodable(attempt, error))
            else:
                yield attempt, bound

    def _leave(self, batch: Batch, attempt: Attempt, result: Outcome) -> None:
        with self._changed:
            if attempt not in batch.live:
                return
            batch.live.remove(attempt)
            attempt.handle = None
        self._link.settle(attempt, result)

    def _columns(self, calls: list[inspect.BoundArguments]) -> tuple[list[Any], dict[str, Any]]:
        """A list for each parameter that any input gives; the others have its default there."""
        given = {name for call in calls for name in call.arguments}
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if name not in given:
                continue
            column = [call.arguments.get(name, parameter.default) for call in calls]
            if parameter.kind is parameter.POSITIONAL_ONLY:
                args.append(column)
            else:
                kwargs[name] = column
        return args, kwargs

    def _conclude(self, batch: Batch, result: Callable[[Attempt], Outcome]) -> None:
        with self._changed:
            live, batch.live = batch.live, []
            for attempt in live:
                attempt.handle = None
        self._output.drain()
        for attempt in live:
            self._link.settle(attempt, result(attempt))


def _misfit(values: Any, inputs: int) -> str:
    if not isinstance(values, (list, tuple)):
        return f"a batched function returns a list with one result for each input, not a {type(values).__name__}"
    if len(values) != inputs:
        return f"a batched function returns one result for each input: it was given {inputs} and returned {len(values)}"
    return ""
