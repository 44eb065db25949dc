"""What becomes of a call: the result or error frame that tells it."""

from __future__ import annotations

import importlib
import os
import pickle
import traceback
from json.encoder import encode_basestring_ascii as quote
from types import TracebackType
from typing import Any

from .._values import lenient_json, pickled, plain_json
from ..errors import InputCancelled, PreflightError
from .attempts import Attempt
from .frames import INLINE_BYTES, encode, encode_raw
from .link import Outcome
from .retryable import is_final
from .streams import NO_SPACE

_MESSAGE_BYTES = 16 * 1024
_TRACEBACK_BYTES = 64 * 1024
_NOT_THE_USERS = (os.path.dirname(__file__) + os.sep, "<frozen importlib", importlib.__file__)


class NotSendable(Exception):
    """A value that cannot travel, with the code that says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def encoded(attempt: Attempt, value: Any, what: str = "result") -> tuple[str, bytes]:
    """How `value` travels. Raises NotSendable, or MemoryError."""
    try:
        data = plain_json(value)
        if data is not None:
            return "json", data
        return ("pickle", pickled(value)) if attempt.accept_pickle else ("json", lenient_json(value))
    except MemoryError:
        raise
    except Exception as error:  # whatever a user's __reduce__ may raise
        raise NotSendable("result_not_serializable", _advice(value, error, what)) from error


def returned(attempt: Attempt, value: Any, run_ms: float) -> Outcome:
    """The function returned `value`."""
    try:
        encoding, data = encoded(attempt, value)
    except (MemoryError, NotSendable) as error:
        return raised(attempt, error, run_ms)
    if len(data) <= INLINE_BYTES:
        head = (
            f'{{"type":"result","id":{quote(attempt.id)},"generation":{attempt.generation},'
            f'"encoding":"{encoding}","run_ms":{run_ms:.3f}}}'
        )
        return Outcome(encode_raw(head.encode(), data))
    header = {"type": "result", "id": attempt.id, "generation": attempt.generation, "encoding": encoding}
    return Outcome(None, {**header, "run_ms": round(run_ms, 3)}, data)


def raised(attempt: Attempt, error: BaseException, run_ms: float) -> Outcome:
    """The function raised `error`."""
    told, body = explain(attempt, error)
    return _failed(attempt, told, run_ms, body)


def explain(attempt: Attempt, error: BaseException) -> tuple[dict[str, Any], bytes]:
    """What `error` is told as, and its pickle where it is the user's own exception."""
    if attempt.delivered or isinstance(error, InputCancelled):
        return _cancelled(attempt, trace(error)), b""
    if isinstance(error, NotSendable):
        return {"code": error.code, "message": str(error)}, b""
    told: dict[str, Any] = {"message": clip(_one_line(error), _MESSAGE_BYTES), "traceback": trace(error)}
    if isinstance(error, SystemExit):
        told["code"] = "exited"
        told["message"] = f"the function called sys.exit({'' if error.code is None else repr(error.code)})"
    elif isinstance(error, PreflightError):
        told["code"] = "preflight_failed"
        told["message"] = clip(str(error.args[0]), _MESSAGE_BYTES)
    elif isinstance(error, MemoryError):
        told["code"] = "out_of_memory"
    elif isinstance(error, OSError) and error.errno in NO_SPACE:
        told["code"] = "disk_full"
    elif isinstance(error, TypeError) and not _user_frames(error.__traceback__):
        told = {"code": "invalid_arguments", "message": clip(str(error), _MESSAGE_BYTES)}
    else:
        told["code"] = "exception"
        told["type"] = clip(f"{type(error).__module__}.{type(error).__qualname__}".replace("builtins.", ""), 512)
    if is_final(error):
        told["retryable"] = False
    return told, _pickled_exception(error) if told["code"] == "exception" else b""


def cancelled(attempt: Attempt, run_ms: float = 0.0) -> Outcome:
    """The input ended because the runner asked for it."""
    return _failed(attempt, _cancelled(attempt), run_ms)


def _cancelled(attempt: Attempt, where: str = "") -> dict[str, Any]:
    code = attempt.reason or "cancelled"
    message = "the input ran longer than its timeout" if code == "timed_out" else "the input was cancelled"
    return {"code": code, "message": message, **({"traceback": where} if where else {})}


def undecodable(attempt: Attempt, error: BaseException) -> Outcome:
    """The arguments could not be opened."""
    return _failed(attempt, undecodable_error(error), 0.0)


def undecodable_error(error: BaseException) -> dict[str, Any]:
    """What arguments that do not open are told as."""
    message = clip(f"the arguments do not open: {_one_line(error)}", _MESSAGE_BYTES)
    return {"code": "invalid_arguments", "message": message}


def batch_invalid(attempt: Attempt, message: str, run_ms: float) -> Outcome:
    """The function returned something that cannot be shared out among its batch."""
    return _failed(attempt, {"code": "batch_result_invalid", "message": message}, run_ms)


def unknown_method(attempt: Attempt) -> Outcome:
    """The class here has no such method."""
    return _failed(attempt, {"code": "invalid_arguments", "message": f"there is no method {attempt.method}"}, 0.0)


def not_received(attempt: Attempt, code: str, message: str) -> Outcome:
    """The input's stream did not arrive whole."""
    return _failed(attempt, {"code": code, "message": clip(message, _MESSAGE_BYTES)}, 0.0)


def trace(error: BaseException) -> str:
    """The traceback as Python prints it, with the shim's own frames left out and the end kept when it is long."""
    lines = traceback.format_exception(type(error), error, _user_frames(error.__traceback__))
    return clip("".join(lines), _TRACEBACK_BYTES, keep_end=True)


def clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Text that fits into a header: at most `limit` bytes of UTF-8, without control characters."""
    clean = "".join(c if c >= " " or c in "\n\t" else "?" for c in text)
    data = clean.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        data = data[len(data) - limit :] if keep_end else data[:limit]
    return data.decode("utf-8", "ignore")


def _user_frames(tb: TracebackType | None) -> TracebackType | None:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        tb = tb.tb_next
    return tb


def _one_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _pickled_exception(error: BaseException) -> bytes:
    try:
        data = pickled(error)
        pickle.loads(data)
    except Exception:  # the caller gets type, message and traceback instead
        return b""
    return data if len(data) <= INLINE_BYTES else b""


def _failed(attempt: Attempt, error: dict[str, Any], run_ms: float, body: bytes = b"") -> Outcome:
    header = {"type": "error", "id": attempt.id, "generation": attempt.generation, "error": error}
    return Outcome(encode({**header, "run_ms": round(run_ms, 3)}, body))


def _advice(value: Any, error: BaseException, what: str) -> str:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".replace("builtins.", "")
    if hasattr(value, "tolist"):
        hint = "return value.tolist() (or value.item() of a scalar)"
    elif kind.__name__ in ("generator", "map", "filter", "zip"):
        hint = "return list(...) of it"
    elif kind.__name__ == "coroutine":
        hint = "declare the function with `async def`, or await it"
    else:
        hint = "return plain values: dict with string keys, list, str, int, float, bool, None"
    return clip(f"the {what}, a {name}, cannot be sent ({_one_line(error)}); {hint}", _MESSAGE_BYTES)
