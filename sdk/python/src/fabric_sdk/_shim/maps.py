"""Maps from inside a container: pages of inputs and outcomes are requests to the runner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .._feed import Pause
from ..errors import FabricError, InputCancelled
from .calls import Answer, Asker, Question, checked
from .frames import Header

#: A map with as many inputs waiting as may is asked for room again after this time.
_FULL_S = 0.5


class ContainerMap:
    """`Transport` of one map; without `callee`, of one that was made earlier."""

    def __init__(self, asker: Asker, callee: Header | None = None) -> None:
        self._asker = asker
        self._callee = callee or {}
        self._question: Question | None = None
        self._left = False

    def open(self, lines: bytes, more: bool, pause: Pause) -> tuple[str, int]:
        told = self._told(Question({**self._callee, "more": more}, lines))
        return str(told["id"]), int(told["inputs"])

    def append(self, id: str, first: int, lines: bytes, more: bool, pause: Pause) -> int:
        operation = {"op": "inputs", "invocation": id, "first": first, "more": more}
        while True:
            try:
                return int(self._told(Question(operation, lines))["inputs"])
            except FabricError as error:
                if error.code != "queue_full" or pause(_FULL_S):
                    raise

    def cancel(self, id: str) -> None:
        try:
            self._told(Question({"op": "cancel", "invocation": id}))
        except InputCancelled:
            pass  # the attempt itself ends, and the map with it

    def connected(self, id: str, position: int) -> Iterator[list[dict[str, Any]]]:
        while True:
            self._question = Question({"op": "results", "invocation": checked(id), "after": position})
            answer = self._asker.ask(self._question)
            if self._left:
                raise FabricError("the map was left", code="cancelled")
            if answer.lost:
                continue
            yield from _outcomes(answer)
            if "ended" in answer.value:
                return
            position = answer.value["position"]

    def disconnect(self) -> None:
        self._left = True
        question = self._question
        if question is not None:
            question.give_up()

    def _told(self, question: Question) -> dict[str, Any]:
        told: dict[str, Any] = self._asker.ask(question).value
        return told


def _outcomes(answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """Lines as the gateway tells them."""
    value = answer.value
    if "ended" in value:
        yield [{"ended": True, **value["ended"]}]
        return
    lines = [json.loads(line) for line in answer.body().split(b"\n") if line]
    yield [*lines, {"cursor": value["position"]}]
