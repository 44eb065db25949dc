"""Opens an input's arguments."""

from __future__ import annotations

import json
import os
import pickle
from typing import Any

from .attempts import Attempt

_decode_json = json.JSONDecoder().decode


def arguments(attempt: Attempt) -> tuple[Any, Any]:
    """Positional and named arguments. Opens the caller's pickle: anything may be raised."""
    body = attempt.body
    if attempt.path is not None:
        with open(attempt.path, "rb") as file:
            body = file.read()
        os.unlink(attempt.path)
    attempt.body = b""
    if attempt.encoding == "pickle":
        args, kwargs = pickle.loads(body)
        return args, kwargs
    call = _decode_json(body.decode())
    return call.get("args", ()), call.get("kwargs", {})
