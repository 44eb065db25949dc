"""Calling functions from inside a container: each call is a request to the runner, which accepts it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .._calls import ENDED, Args, Kwargs, decode, encode, failure
from ..call_options import CallOptions
from ..errors import InvalidError, NotFoundError, WaitTimeoutError
from .frames import INLINE_BYTES, Header

if TYPE_CHECKING:
    from .._reader import Reader
    from .._results import Results
    from ..maps import Call

#: What the protocol takes.
_APP, _FUNCTION, _ID, _NAME = 64, 280, 64, 64
_VARIANT_BYTES = 64 * 1024


class Question:
    """One request with its body."""

    __slots__ = ("body", "give_up", "operation")

    def __init__(self, operation: Header, body: bytes = b"") -> None:
        self.operation = operation
        self.body = body
        #: Lets the thread that asked go on, with a lost answer.
        self.give_up: Callable[[], object] = lambda: None


class Answer:
    """What the runner replied; a body that came as a stream lies in a file."""

    __slots__ = ("_body", "_path", "lost", "value")

    def __init__(self, value: Any = None, body: bytes = b"", *, path: str | None = None, lost: bool = False) -> None:
        self.value = value
        self._body = body
        self._path = path
        #: The connection broke before all of it had come.
        self.lost = lost

    def body(self) -> bytes:
        if self._path is None:
            return self._body
        with open(self._path, "rb") as file:
            body = file.read()
        os.unlink(self._path)
        return body


class Asker(Protocol):
    """Puts a question to the runner; raises what it refuses."""

    def ask(self, question: Question) -> Answer: ...

    async def ask_aio(self, question: Question) -> Answer: ...


#: A method's questions and what it makes of the answers, for threads and coroutines alike.
Steps = Generator[Question, Answer, Any]


class ContainerCalls:
    """`Calls` through the runner's socket."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def remote(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> Any:
        return self._run(_remote(app, fn, args, kwargs, version, options))

    async def remote_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> Any:
        return await self._run_aio(_remote(app, fn, args, kwargs, version, options))

    def spawn(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> str:
        return str(self._run(_spawn(app, fn, args, kwargs, version, options)))

    async def spawn_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> str:
        return str(await self._run_aio(_spawn(app, fn, args, kwargs, version, options)))

    def map(
        self, app: str, fn: str, version: str | None, inputs: Iterable[Call], options: CallOptions, awaited: bool
    ) -> Results:
        from .._feed import Feed
        from .._results import Results
        from .maps import ContainerMap

        transport = ContainerMap(self._asker, {"op": "map", **_callee(app, fn, version, options, awaited)})
        return Results(transport, feed=Feed(transport, inputs))

    def generate(self, *call: Any, on_restart: str) -> Reader:
        from .generators import ContainerReader

        question = _call(*call, awaited=True)
        question.operation["yields"] = True
        return ContainerReader(self._asker, self, on_restart, call=question)

    def follow(self, id: str, on_restart: str) -> Reader:
        from .generators import ContainerReader

        return ContainerReader(self._asker, self, on_restart, id=checked(id))

    def results(self, id: str) -> Results:
        from .._results import Results
        from .maps import ContainerMap

        return Results(ContainerMap(self._asker), id=checked(id))

    def get(self, id: str, timeout: float | None) -> Any:
        return self._run(_get(id, timeout))

    async def get_aio(self, id: str, timeout: float | None) -> Any:
        return await self._run_aio(_get(id, timeout))

    def status(self, id: str) -> dict[str, Any]:
        return dict(self._run(_status(id)))

    async def status_aio(self, id: str) -> dict[str, Any]:
        return dict(await self._run_aio(_status(id)))

    def cancel(self, id: str) -> None:
        self._run(_cancel(id))

    async def cancel_aio(self, id: str) -> None:
        await self._run_aio(_cancel(id))

    def _run(self, steps: Steps) -> Any:
        try:
            question = next(steps)
            while True:
                question = steps.send(self._asker.ask(question))
        except StopIteration as end:
            return end.value

    async def _run_aio(self, steps: Steps) -> Any:
        try:
            question = next(steps)
            while True:
                question = steps.send(await self._asker.ask_aio(question))
        except StopIteration as end:
            return end.value


def _remote(app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> Steps:
    question = _call(app, fn, args, kwargs, version, options, awaited=True)
    # What waits is kept for sending it again: not what is large.
    question.operation["wait"] = len(question.body) <= INLINE_BYTES
    answer = yield question
    return (yield from _outcome(answer, None))


def _spawn(app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> Steps:
    answer = yield _call(app, fn, args, kwargs, version, options, awaited=False)
    return answer.value["id"]


def _get(id: str, timeout: float | None) -> Steps:
    deadline = None if timeout is None else time.monotonic() + timeout
    answer = yield _wait(checked(id), deadline)
    return (yield from _outcome(answer, deadline, timeout))


def _status(id: str) -> Steps:
    answer = yield Question({"op": "status", "invocation": checked(id)})
    return answer.value


def _cancel(id: str) -> Steps:
    yield Question({"op": "cancel", "invocation": checked(id)})


def _outcome(answer: Answer, deadline: float | None, timeout: float | None = None) -> Steps:
    """The result, or what it ended with is raised; asked for again while it has not ended."""
    told = answer.value
    while told["state"] not in ENDED or answer.lost:
        if deadline is not None and time.monotonic() >= deadline and not answer.lost:
            raise WaitTimeoutError(
                f"{told['id']} has not ended after {timeout:g} s ({told.get('reason') or told['state']}); it goes on",
                code="wait_timeout",
                retryable=True,
            )
        answer = yield _wait(told["id"], deadline)
        told = answer.value
    if told["state"] == "succeeded":
        return decode(told["encoding"], answer.body())
    raise failure(told["error"], answer.body())


def _wait(id: str, deadline: float | None) -> Question:
    operation: Header = {"op": "outcome", "invocation": id}
    if deadline is not None:
        operation["wait_ms"] = max(0.0, (deadline - time.monotonic()) * 1000)
    return Question(operation)


def _call(
    app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions, *, awaited: bool
) -> Question:
    callee = _callee(app, fn, version, options, awaited)
    encoding, body = encode(args, kwargs)
    return Question({"op": "call", **callee, "encoding": encoding, "wait": False}, body)


def _callee(app: str, fn: str, version: str | None, options: CallOptions, awaited: bool) -> Header:
    for what, name, limit in (("an app", app, _APP), ("a function", fn, _FUNCTION), ("a version", version or "", _ID)):
        if not isinstance(name, str) or len(name) > limit:
            raise InvalidError(f"{name!r:.80} is no name of {what}", code="invalid_name")
    callee: Header = {"function": fn, "at": int(time.time() * 1000), "accept_pickle": True, "awaited": awaited}
    if app:  # an app without a name of its own has that of its file, which the runner knows
        callee["app"] = app
    if version is not None:
        callee["version"] = version
    if options.given():
        callee["options"] = options.given()
    variant = options.variant.given()
    names = [name for values in variant.values() for name in values]
    if any(len(name) > _NAME for name in names) or len(json.dumps(variant)) > _VARIANT_BYTES:
        raise InvalidError(
            f"the parameters and options of {fn}'s class are too long; pass large values as arguments",
            code="bad_request",
        )
    return {**callee, **variant}


def checked(id: str) -> str:
    if not isinstance(id, str) or len(id) > _ID:
        raise NotFoundError(f"{id!r:.80} is no invocation's id", code="invocation_not_found")
    return id
