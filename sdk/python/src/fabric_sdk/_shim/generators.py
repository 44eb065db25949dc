"""Reading what a generator yields from inside a container: each look is a request to the runner."""

from __future__ import annotations

import json
from typing import Any, Protocol

from .._reader import Event, Reader
from ..errors import FabricError, InputCancelled
from .calls import Asker, Question, checked


class Getter(Protocol):
    """What waits for an outcome."""

    def get(self, id: str, timeout: float | None) -> Any: ...

    def cancel(self, id: str) -> None: ...


class ContainerReader(Reader):
    """`Reader` through the runner's socket; `call` makes the invocation when it is first read."""

    def __init__(
        self, asker: Asker, calls: Getter, on_restart: str, *, call: Question | None = None, id: str | None = None
    ) -> None:
        super().__init__(on_restart, cancels=call is not None, id=id)
        self._asker = asker
        self._calls = calls
        self._call = call
        self._question: Question | None = None

    def receive(self) -> list[Event]:
        if self.closed:
            raise FabricError("the generator was closed while it was read", code="bad_request")
        if self.id is None and self._call is not None:
            self.id = str(self._asker.ask(self._call).value["id"])
        operation = {"op": "events", "invocation": checked(self.id or "")}
        self._question = Question(operation if self.last is None else {**operation, "after": self.last})
        answer = self._asker.ask(self._question)
        return [] if answer.lost else [json.loads(line) for line in answer.body().split(b"\n") if line]

    def outcome(self, end: Event) -> Any:
        return self._calls.get(end["id"], None)

    def disconnect(self) -> None:
        if self._question is not None:
            self._question.give_up()

    def cancel(self, id: str) -> None:
        try:
            self._calls.cancel(id)
        except InputCancelled:
            pass  # the attempt itself ends, and the call with it
