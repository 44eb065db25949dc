"""Define functions and call them on a fabric. `import fabric_sdk as fabric`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from . import ray, train
from ._parts import enter, exit, method, parameter
from .app import App, LocalEntrypoint
from .checkpoint import Checkpoint
from .cls import Cls, Obj
from .concurrency import batched, concurrent
from .errors import (
    AuthError,
    CancelledError,
    ConflictError,
    FabricError,
    FunctionError,
    FunctionTimeoutError,
    GeneratorRestarted,
    InputCancelled,
    InvalidError,
    NotFoundError,
    OutOfMemoryError,
    PlatformError,
    PreflightError,
    QuotaExceededError,
    RemoteError,
    RemoteTraceback,
    UnreachableError,
    WaitTimeoutError,
)
from .function import Function
from .image import Image
from .invocation import Invocation
from .options import FunctionOptions
from .retries import Retries
from .schedule import Cron, Period

__all__ = [
    "App",
    "AuthError",
    "CancelledError",
    "Checkpoint",
    "Cls",
    "ConflictError",
    "Cron",
    "FabricError",
    "Function",
    "FunctionError",
    "FunctionOptions",
    "FunctionTimeoutError",
    "GeneratorRestarted",
    "Image",
    "InputCancelled",
    "InvalidError",
    "Invocation",
    "LocalEntrypoint",
    "NotFoundError",
    "Obj",
    "OutOfMemoryError",
    "Period",
    "PlatformError",
    "PreflightError",
    "QuotaExceededError",
    "RemoteError",
    "RemoteTraceback",
    "Retries",
    "UnreachableError",
    "WaitTimeoutError",
    "batched",
    "concurrent",
    "enter",
    "exit",
    "init",
    "is_initialized",
    "method",
    "parameter",
    "ray",
    "shutdown",
    "train",
]

__version__ = "0.1.0"


def init(*_args: object, **_kwargs: object) -> None:
    """Ray's way to start: there is nothing to start. The gateway is the one that environment and config name."""


def shutdown(*_args: object, **_kwargs: object) -> None:
    """Ray's way to end: there is nothing to end."""


def is_initialized() -> bool:
    """Always."""
    return True


#: Modal's words that fabric has none of its own for, and what to write instead.
_INSTEAD = {
    "Secret": "give values by Image.env({...})",
    "Volume": "keep files as checkpoints: train.report(...) and Checkpoint.load(...)",
    "FunctionCall": "use Invocation",
    "asgi_app": "call functions by POST /f/APP/FUNCTION",
    "fastapi_endpoint": "call functions by POST /f/APP/FUNCTION",
    "web_endpoint": "call functions by POST /f/APP/FUNCTION",
    "wsgi_app": "call functions by POST /f/APP/FUNCTION",
}

if not TYPE_CHECKING:  # for type checkers a name that is not there stays an error

    def __getattr__(name: str) -> NoReturn:
        known = name in _INSTEAD
        raise AttributeError(f"this version of fabric_sdk has no {name}" + (f"; {_INSTEAD[name]}" if known else ""))
