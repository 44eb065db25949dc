"""Define functions and call them on a fabric. `import fabric_sdk as fabric`."""

from __future__ import annotations

from . import train
from .app import App, LocalEntrypoint
from .checkpoint import Checkpoint
from .errors import (
    AuthError,
    CancelledError,
    ConflictError,
    FabricError,
    FunctionError,
    FunctionTimeoutError,
    InputCancelled,
    InvalidError,
    NotFoundError,
    OutOfMemoryError,
    PlatformError,
    RemoteError,
    RemoteTraceback,
    UnreachableError,
    WaitTimeoutError,
)
from .function import Function, concurrent
from .image import Image
from .invocation import Invocation
from .options import FunctionOptions

__all__ = [
    "App",
    "AuthError",
    "CancelledError",
    "Checkpoint",
    "ConflictError",
    "FabricError",
    "Function",
    "FunctionError",
    "FunctionOptions",
    "FunctionTimeoutError",
    "Image",
    "InputCancelled",
    "InvalidError",
    "Invocation",
    "LocalEntrypoint",
    "NotFoundError",
    "OutOfMemoryError",
    "PlatformError",
    "RemoteError",
    "RemoteTraceback",
    "UnreachableError",
    "WaitTimeoutError",
    "concurrent",
    "train",
]

__version__ = "0.1.0"
