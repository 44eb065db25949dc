"""Everything fabric raises.

FabricError                    has .code (docs/errors.md), .retryable, .fault ("user" or "platform"), .details
├── InvalidError               the request, app file, image spec or arguments are wrong
├── AuthError                  no token, or one that is not valid
├── NotFoundError              no such app, function, version, invocation, checkpoint
├── ConflictError              something else exists or is going on already
├── FunctionError              the function ran and failed
│   ├── RemoteError            it raised, and the exception itself could not be brought here: .type, .traceback
│   ├── GeneratorRestarted     its generator started over under a reader: what was yielded before does not count
│   ├── FunctionTimeoutError   it ran longer than its timeout (also a TimeoutError)
│   ├── OutOfMemoryError       it used more memory than its limit
│   └── CancelledError         it was cancelled
├── WaitTimeoutError           get(timeout=...) gave up waiting (also a TimeoutError); the invocation goes on
└── PlatformError              fabric's own fault
    ├── PreflightError         ranks of a gang did not reach each other when that was tried
    └── UnreachableError       no gateway answers

InputCancelled                 raised inside a function that is cancelled or timed out; a BaseException: let it pass
RemoteTraceback                __cause__ of an exception that a function raised: its traceback over there, as text
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AuthError",
    "CancelledError",
    "ConflictError",
    "FabricError",
    "FunctionError",
    "FunctionTimeoutError",
    "GeneratorRestarted",
    "InputCancelled",
    "InvalidError",
    "NotFoundError",
    "OutOfMemoryError",
    "PlatformError",
    "PreflightError",
    "QuotaExceededError",
    "RemoteError",
    "RemoteTraceback",
    "UnreachableError",
    "WaitTimeoutError",
]


class FabricError(Exception):
    """An error with a code from fabric's table."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "internal",
        retryable: bool = False,
        fault: str = "user",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retryable = retryable
        self.fault = fault
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.retryable, self.fault, self.details))


class InvalidError(FabricError):
    """The request, app file, image spec or arguments are wrong."""


class AuthError(FabricError):
    """No token, or one that is not valid."""


class NotFoundError(FabricError):
    """No such thing."""


class ConflictError(FabricError):
    """Something else exists or is going on already."""


class FunctionError(FabricError):
    """The function ran and failed."""


class RemoteError(FunctionError):
    """The function raised an exception that could not be brought here."""

    @property
    def type(self) -> str:
        """The exception's class, with its module."""
        return str(self.details.get("type", "Exception"))

    @property
    def traceback(self) -> str:
        """The function's own frames, as Python prints them."""
        return str(self.details.get("traceback", ""))


class GeneratorRestarted(FunctionError):
    """Another attempt of the generator began after values of an earlier one were given out."""


class FunctionTimeoutError(FunctionError, TimeoutError):
    """The function ran longer than its timeout."""


class OutOfMemoryError(FunctionError, MemoryError):
    """The function used more memory than its limit."""


class CancelledError(FunctionError):
    """The invocation was cancelled."""


class WaitTimeoutError(FabricError, TimeoutError):
    """`get(timeout=...)` gave up waiting; the invocation goes on."""


class PlatformError(FabricError):
    """Fabric's own fault."""


class QuotaExceededError(FabricError):
    """The token made as many calls as it may; `details` tell which limit, and when there is room again."""


class PreflightError(PlatformError):
    """Ranks of a gang did not reach each other when that was tried, before their training."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message, **{"code": "preflight_failed", "retryable": True, "fault": "platform", **more})


class UnreachableError(PlatformError):
    """No gateway answers."""


class InputCancelled(BaseException):
    """Raised inside a function whose input is cancelled or timed out."""


class RemoteTraceback(Exception):
    """Where a function raised, as text; and what else is known of it, such as the rank of a gang."""

    def __init__(self, text: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.details = dict(details or {})

    def __str__(self) -> str:
        return "\n" + self.text.rstrip()


def _classes(kind: type[FabricError], codes: str) -> dict[str, type[FabricError]]:
    return dict.fromkeys(codes.split(), kind)


CLASS_OF_CODE: dict[str, type[FabricError]] = {
    **_classes(
        InvalidError,
        "bad_request invalid_json body_too_deep body_too_large upload_incomplete invalid_name invalid_arguments"
        " app_import_failed app_not_defined function_duplicate image_spec_invalid image_build_failed"
        " image_python_unavailable archive_invalid archive_too_large resources_unavailable python_mismatch"
        " call_too_deep checkpoint_invalid dataset_unreadable generator_needs_stream input_unserializable"
        " invalid_parameters method_not_allowed not_a_generator",
    ),
    **_classes(AuthError, "unauthorized token_expired forbidden"),
    **_classes(
        NotFoundError,
        "route_not_found app_not_found function_not_found version_not_found invocation_not_found"
        " checkpoint_not_found schedule_not_found source_not_found token_not_found upload_not_found"
        " input_gone input_not_found",
    ),
    **_classes(
        ConflictError,
        "idempotency_mismatch invocation_ended invocation_not_failed checkpoint_exists checkpoint_tagged"
        " checkpoint_tag_moved map_gap map_sealed series_in_use"
        " upload_used",
    ),
    **_classes(
        FunctionError,
        "batch_result_invalid call_deadlock chunk_too_large container_crashed disk_full enter_failed exited"
        " import_failed inputs_failed queue_expired rank_failed report_missing result_not_serializable"
        " result_too_large",
    ),
    **_classes(RemoteError, "exception"),
    **_classes(FunctionTimeoutError, "timed_out"),
    **_classes(OutOfMemoryError, "out_of_memory"),
    **_classes(CancelledError, "cancelled"),
    **_classes(
        PlatformError,
        "too_many_invocations queue_full calls_outstanding"
        " node_lost container_killed rank_killed container_start_failed image_missing"
        " shim_unresponsive protocol_violation redis_unavailable storage_unavailable engine_unavailable"
        " secret_unreadable internal",
    ),
    **_classes(QuotaExceededError, "quota_exceeded"),
    **_classes(PreflightError, "preflight_failed"),
    **_classes(UnreachableError, "fabric_unreachable"),
}


def from_body(error: Mapping[str, Any]) -> FabricError:
    """The exception for an error as replies carry it; a code this version does not know becomes a FabricError."""
    code = str(error.get("code", "internal"))
    kind = CLASS_OF_CODE.get(code, FabricError)
    return kind(
        str(error.get("message", code)),
        code=code,
        retryable=bool(error.get("retryable", False)),
        fault=str(error.get("fault", "platform")),
        details=error.get("details") or {},
    )


def _rebuild(
    kind: type[FabricError], message: str, code: str, retryable: bool, fault: str, details: dict[str, Any]
) -> FabricError:
    return kind(message, code=code, retryable=retryable, fault=fault, details=details)
