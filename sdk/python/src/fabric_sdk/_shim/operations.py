"""What user code asks of its runner: series, report, restore, and calls. Installed as the package's channel."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..errors import InputCancelled, InvalidError, from_body
from . import attempts
from .attempts import Attempt, Key
from .calls import Answer, ContainerCalls, Question
from .frames import Header
from .link import Link
from .restoring import ConnectionLost, Restoring
from .saving import Saving, keep_rule
from .streams import DISK_FULL

if TYPE_CHECKING:
    from concurrent.futures import Future

_WAKE: dict[str, Any] = {}
#: Folders that outlive the input they were restored for: the latest ones.
_RESTORED_KEPT = 4


class _Asked:
    def __init__(self, attempt: Attempt, deliver: Callable[[dict[str, Any]], object]) -> None:
        self.attempt = attempt
        #: Gives an answer to whoever asked; `_WAKE` is none.
        self.deliver = deliver
        self.number = 0
        #: What the receiving thread does with an answer before the asker wakes up.
        self.on_value: Callable[[dict[str, Any]], None] | None = None


class RunnerChannel:
    """`_channel.Channel` over the runner's socket."""

    def __init__(self, link: Link, scratch: str) -> None:
        self._link = link
        self._own = os.path.join(scratch, ".fabric")
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._pid = os.getpid()
        self.calls = ContainerCalls(self)
        self._saving = Saving(self._ask, self._ask_behind, scratch)
        self._restored: list[tuple[str, Key]] = []
        link.handlers["reply"] = self._replied

    def attempt(self) -> tuple[str, int]:
        return self._current().key

    def series(self, name: str, resume: bool) -> dict[str, Any]:
        value: dict[str, Any] = self._ask({"op": "series", "name": name, "resume": resume})
        return value

    def report(self, metrics: dict[str, Any], directory: str | None, step: int | None) -> int:
        return self._saving.report(self._current(), metrics, directory, step)

    def save_behind(self, metrics: dict[str, Any], directory: str | None, step: int | None, given: bool) -> Future[int]:
        return self._saving.behind(self._current(), metrics, directory, step, given)

    def keep(self, num_to_keep: int | None, attribute: str | None, order: str, per_rank: bool) -> None:
        attempt = self._current()
        attempt.keep = keep_rule(num_to_keep, attribute, order)
        attempt.per_rank = per_rank

    def _ask_behind(
        self, attempt: Attempt, operation: dict[str, Any], answered: Callable[[dict[str, Any]], None]
    ) -> None:
        def deliver(answer: dict[str, Any]) -> None:
            if answer is not _WAKE:
                self._asked.pop(asked.number, None)
                answered(answer)

        asked = _Asked(attempt, deliver)
        self._begin(asked, operation, b"")

    def restore(
        self, series: str | None, step: int | None, metric: str | None, order: str | None, at: str | None = None
    ) -> dict[str, Any] | None:
        folder, value = self._bring(_restore(series, step, metric, order, at))
        if value is None:
            return None
        self._keep(folder)
        return {"path": folder, **_named(value)}

    def find(
        self, series: str | None, step: int | None, metric: str | None, order: str | None, at: str | None = None
    ) -> dict[str, Any] | None:
        value = self._ask({**_restore(series, step, metric, order, at), "look": True})
        return None if value is None else _named(value)

    def dataset_files(self, url: str) -> list[str]:
        return [file["url"] for file in self._ask({"op": "files", "url": url})["files"]]

    def dataset(self, url: str) -> str:
        folder, value = self._bring({"op": "dataset", "url": url})
        return os.path.join(folder, value["files"][0]["path"])

    def _bring(self, operation: Header) -> tuple[str, Any]:
        """The folder of the files that the answer names, and the answer."""
        while True:
            restoring = Restoring(self._link, os.path.join(self._own, "restored", os.urandom(16).hex()))
            try:
                return restoring.folder, self._ask(operation, restoring)
            except ConnectionLost:
                restoring.abandon("the connection was lost")
            except BaseException:
                restoring.abandon("no longer wanted")
                raise

    def _keep(self, folder: str) -> None:
        """A container that loads a checkpoint with every input must not fill its disk."""
        self._restored.append((folder, self._current().key))
        for old in self._restored[:-_RESTORED_KEPT]:
            if old[1] not in attempts.running:
                self._restored.remove(old)
                shutil.rmtree(old[0], ignore_errors=True)

    def wake(self, attempt: Attempt) -> None:
        """Let a thread that waits for an answer notice that its input shall end."""
        for asked in list(self._asked.values()):
            if asked.attempt is attempt:
                asked.deliver(_WAKE)

    def ask(self, question: Question) -> Answer:
        return _answer(self._await(question.operation, question.body, question=question))

    async def ask_aio(self, question: Question) -> Answer:
        import asyncio

        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        def deliver(answer: dict[str, Any]) -> None:
            if answer is not _WAKE:  # whose task is cancelled needs no other sign
                loop.call_soon_threadsafe(take, answer)

        def take(answer: dict[str, Any]) -> None:
            if not answered.done():
                answered.set_result(answer)

        number = self._begin(_Asked(self._current(), deliver), question.operation, question.body)
        try:
            return _answer(await answered)
        finally:
            self._forget(number)

    def _current(self) -> Attempt:
        if os.getpid() != self._pid:
            raise InvalidError(
                "a process that a function started has no way to its runner; use fabric in the function's own process",
                code="bad_request",
            )
        attempt = attempts.asking()
        if attempt is None:
            raise InvalidError(
                "this thread belongs to none of the running inputs; call fabric from the function's own thread",
                code="bad_request",
            )
        return attempt

    def _ask(self, operation: Header, restoring: Restoring | None = None) -> Any:
        answer = self._await(operation, b"", restoring)
        if answer.get("lost"):
            raise ConnectionLost
        if not answer["ok"]:
            raise from_body({"fault": "user", **answer["error"]})
        return answer.get("value")

    def _await(
        self, operation: Header, body: bytes, restoring: Restoring | None = None, *, question: Question | None = None
    ) -> dict[str, Any]:
        """With a `question`, a thread in which nothing is raised when the input shall end gives up by itself."""
        attempt = self._current()
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        asked = _Asked(attempt, answers.put)
        if question is not None:
            question.give_up = lambda: answers.put({"ok": True, "lost": True})
        if restoring is not None:
            restoring.finished = answers.put
            asked.on_value = restoring.begin
        is_foreign = question is not None and attempts.batch.get() is None  # a batch is interrupted as a whole
        number = self._begin(asked, operation, body)
        try:
            answer = answers.get()
            while answer is _WAKE:  # an exception set in the input's own thread is raised here
                if is_foreign and threading.get_ident() != (attempt.handle or threading.main_thread().ident):
                    raise InputCancelled(attempt.reason)
                answer = answers.get()
            return answer
        finally:
            self._forget(number)

    def _begin(self, asked: _Asked, operation: Header, body: bytes) -> int:
        number = next(self._numbers)
        attempt = asked.attempt
        asked.number = number
        self._asked[number] = asked
        header = {"type": "request", "request": number, "id": attempt.id, "generation": attempt.generation}
        self._link.ask(number, {**header, "operation": operation}, body)
        if attempt.reason is not None:  # it was woken before there was anything to wake
            asked.deliver(_WAKE)
        return number

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)
        self._link.forget(number)

    def _replied(self, header: Header, body: bytes) -> None:
        asked = self._asked.get(header["request"])
        self._link.forget(header["request"])
        value = header.get("value")
        stream = value.get("stream") if isinstance(value, dict) else None
        deliver = asked.deliver if asked is not None else _discard  # the asker was cancelled
        if stream is not None:
            self._link.streams.claim(stream, _arrival(header, deliver))
        elif asked is not None and asked.on_value is not None and header["ok"] and value is not None:
            asked.on_value(header)
        else:
            deliver({**header, "body": body})


def _restore(series: str | None, step: int | None, metric: str | None, order: str | None, at: str | None) -> Header:
    named = {"series": series, "step": step, "metric": metric, "order": order, "at": at}
    return {"op": "restore", **{key: value for key, value in named.items() if value is not None}}


def _named(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("series", "step", "metrics")}


def _answer(told: dict[str, Any]) -> Answer:
    if not told["ok"]:
        raise from_body({"fault": "user", **told["error"]})
    return Answer(told.get("value"), told.get("body", b""), path=told.get("path"), lost=told.get("lost", False))


def _arrival(header: Header, deliver: Callable[[dict[str, Any]], object]) -> Callable[[str | None, str], None]:
    def arrived(path: str | None, problem: str) -> None:
        if path is not None:
            deliver({**header, "path": path})
        elif problem.startswith(DISK_FULL):
            deliver({"ok": False, "error": {"code": "disk_full", "message": f"the result does not fit: {problem}"}})
        else:
            deliver({**header, "lost": True})

    return arrived


def _discard(told: dict[str, Any]) -> None:
    if "path" in told:
        os.unlink(told["path"])
