"""What user code asks of its runner: series, report, restore. Installed as the package's channel."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..errors import InvalidError, from_body
from . import attempts
from .attempts import Attempt, Key
from .frames import Header, encode
from .link import Link
from .streams import CONNECTION_LOST

_WAKE: dict[str, Any] = {}
#: Folders that outlive the input they were restored for: the latest ones.
_RESTORED_KEPT = 4


class _Question:
    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        #: What the receiving thread does with an answer before the asker wakes up.
        self.on_value: Callable[[dict[str, Any]], None] | None = None


class RunnerChannel:
    """`_channel.Channel` over the runner's socket."""

    def __init__(self, link: Link, scratch: str) -> None:
        self._link = link
        self._own = os.path.join(scratch, ".fabric")
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._restored: list[tuple[str, Key]] = []
        link.handlers["reply"] = self._replied

    def attempt(self) -> tuple[str, int]:
        return self._current().key

    def series(self, name: str, resume: bool) -> dict[str, Any]:
        value: dict[str, Any] = self._ask({"op": "series", "name": name, "resume": resume})
        return value

    def report(self, metrics: dict[str, Any], directory: str | None, step: int | None) -> int:
        operation: dict[str, Any] = {"op": "report", "metrics": metrics}
        if step is not None:
            operation["step"] = step
        if directory is None:
            return int(self._ask(operation)["step"])
        name = os.urandom(16).hex()
        copy = os.path.join(self._own, "checkpoints", name)
        try:
            shutil.copytree(directory, copy)
            operation["directory"] = f".fabric/checkpoints/{name}"
            return int(self._ask(operation)["step"])
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def restore(
        self, series: str | None, step: int | None, metric: str | None, order: str | None
    ) -> dict[str, Any] | None:
        named = {"series": series, "step": step, "metric": metric, "order": order}
        operation = {"op": "restore", **{key: value for key, value in named.items() if value is not None}}
        while True:
            restoring = _Restoring(self._link, os.path.join(self._own, "restored", os.urandom(16).hex()))
            try:
                value = self._ask(operation, restoring)
                if value is None:
                    return None
                self._keep(restoring.folder)
                return {"path": restoring.folder, **{key: value[key] for key in ("series", "step", "metrics")}}
            except _ConnectionLost:
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
        for question in list(self._questions.values()):
            if question.attempt is attempt:
                question.answers.put(_WAKE)

    def _current(self) -> Attempt:
        attempt = attempts.current()
        if attempt is None:
            raise InvalidError(
                "this thread belongs to none of the running inputs; call fabric.train from the function's own thread",
                code="bad_request",
            )
        return attempt

    def _ask(self, operation: dict[str, Any], restoring: _Restoring | None = None) -> Any:
        attempt = self._current()
        number = next(self._numbers)
        question = _Question(attempt)
        if restoring is not None:
            restoring.finished = question.answers.put
            question.on_value = restoring.begin
        header = {"type": "request", "request": number, "id": attempt.id, "generation": attempt.generation}
        self._questions[number] = question
        try:
            self._link.ask(number, encode({**header, "operation": operation}))
            answer = question.answers.get()
            while answer is _WAKE:  # an exception set in this thread is raised here
                answer = question.answers.get()
        finally:
            self._questions.pop(number, None)
            self._link.forget(number)
        if answer.get("lost"):
            raise _ConnectionLost
        if not answer["ok"]:
            raise from_body({"fault": "user", **answer["error"]})
        return answer.get("value")

    def _replied(self, header: Header, _body: bytes) -> None:
        question = self._questions.get(header["request"])
        self._link.forget(header["request"])
        if question is None:
            return  # the asker was cancelled
        if question.on_value is not None and header["ok"] and header.get("value") is not None:
            question.on_value(header)
        else:
            question.answers.put(header)


class _ConnectionLost(Exception):
    pass


class _Restoring:
    """The files of one checkpoint on their way into a folder of scratch."""

    def __init__(self, link: Link, folder: str) -> None:
        self._link = link
        self.folder = folder
        self.finished: Callable[[dict[str, Any]], None] = lambda _answer: None
        self._left: dict[int, Any] = {}
        self._answer: dict[str, Any] = {}

    def begin(self, answer: dict[str, Any]) -> None:
        files = answer["value"]["files"]
        self._answer = answer
        self._left = {file["stream"]: file for file in files}
        os.makedirs(self.folder, exist_ok=True)
        if not files:
            self.finished(answer)
        for file in files:
            self._link.streams.claim(file["stream"], self._arrival(file))

    def abandon(self, reason: str) -> None:
        left, self._left = self._left, {}
        for number in left:
            self._link.streams.refuse(number, reason)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _arrival(self, file: dict[str, Any]) -> Callable[[str | None, str], None]:
        def arrived(spooled: str | None, problem: str) -> None:
            if self._left.pop(file["stream"], None) is None:
                if spooled is not None:
                    os.unlink(spooled)
                return
            if spooled is None:
                self._fail(problem)
                return
            try:
                self._place(spooled, file)
            except (OSError, ValueError) as error:
                self._fail(str(error))
                return
            if not self._left:
                self.finished(self._answer)

        return arrived

    def _place(self, spooled: str, file: dict[str, Any]) -> None:
        parts = file["path"].split("/")
        if file["path"].startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"the checkpoint names a file {file['path']!r}, which is not below its folder")
        size = os.path.getsize(spooled)
        if size != file["size"]:
            raise ValueError(f"{file['path']} arrived with {size} bytes instead of {file['size']}")
        target = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(spooled, target)

    def _fail(self, problem: str) -> None:
        if problem == CONNECTION_LOST:
            self.finished({"lost": True})
        else:
            code = "disk_full" if problem.startswith("disk_full") else "checkpoint_invalid"
            self.finished({"ok": False, "error": {"code": code, "message": f"restoring failed: {problem}"}})
