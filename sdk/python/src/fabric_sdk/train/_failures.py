"""What fit() raises when a training failed. Its cause is what the training raised itself."""

from __future__ import annotations

from typing import Any

from ..errors import FabricError

__all__ = ["ControllerError", "TrainingFailedError", "WorkerGroupError"]


class TrainingFailedError(FabricError):
    """One of the two below."""

    def __str__(self) -> str:
        return self.message


class WorkerGroupError(TrainingFailedError):
    """The training itself failed: `worker_failures` are the exceptions by rank."""

    def __init__(self, error_message: str, worker_failures: dict[int, BaseException]) -> None:
        super().__init__(f"the training failed: {error_message}", code="exception")
        self.error_message = error_message
        self.worker_failures = worker_failures

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.error_message, self.worker_failures)


class ControllerError(TrainingFailedError):
    """Fabric could not run it: `controller_failure` says why."""

    def __init__(self, controller_failure: BaseException) -> None:
        super().__init__(f"the training could not run: {controller_failure}", fault="platform")
        self.code = getattr(controller_failure, "code", self.code)
        self.controller_failure = controller_failure

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.controller_failure,)
