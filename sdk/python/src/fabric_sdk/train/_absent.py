"""Names of Ray Train that fabric has nothing behind: they can be imported, and say so when they are used."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidError

__all__ = [
    "SyncConfig",
    "UserCallback",
    "ValidationConfig",
    "ValidationTaskConfig",
    "get_all_reported_checkpoints",
    "get_preemption_info",
]


class _Absent:
    instead = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Absent:
        raise InvalidError(
            f"{cls.__name__} is not available in this version of fabric; {cls.instead}", code="bad_request"
        )


class SyncConfig(_Absent):
    instead = "checkpoints go to fabric's bucket by themselves"


class UserCallback(_Absent):
    instead = "call what it would do in the training loop"


class ValidationConfig(_Absent):
    instead = "evaluate in the training loop and report what it measured"


class ValidationTaskConfig(_Absent):
    instead = ValidationConfig.instead


class get_all_reported_checkpoints(_Absent):
    instead = "Checkpoint.load(series, step) brings any of them"


class get_preemption_info(_Absent):
    instead = "a node that is lost starts the training again, from its latest checkpoint"
