"""Calling functions, wherever the caller runs: over HTTP outside, through the runner inside function containers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from . import _channel
from ._values import pickled, plain_json
from .call_options import CallOptions
from .errors import InvalidError, RemoteTraceback, from_body

if TYPE_CHECKING:
    from ._reader import Reader
    from ._results import Results
    from .maps import Call

ENDED = ("succeeded", "failed", "cancelled")

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]


class Calls(Protocol):
    """Each method has a twin for coroutines, which leaves the event loop free."""

    def remote(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> Any:
        """Call and wait for as long as it takes."""

    async def remote_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> Any: ...

    def spawn(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> str:
        """Call without waiting: the invocation's id."""

    async def spawn_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> str: ...

    def map(
        self, app: str, fn: str, version: str | None, inputs: Iterable[Call], options: CallOptions, awaited: bool
    ) -> Results:
        """Begin to send the inputs of a map; one that is `awaited` ends with its caller."""

    def generate(self, *call: Any, on_restart: str) -> Reader:
        """A reader that makes the call (what `remote` is given) when it is first read, and cancels it when it is left
        early."""

    def follow(self, id: str, on_restart: str) -> Reader:
        """A reader of an invocation that was made earlier; it goes on when the reader leaves."""

    def results(self, id: str) -> Results:
        """Those of a map that was made earlier, from the first one on."""

    def get(self, id: str, timeout: float | None) -> Any:
        """An invocation's result; WaitTimeoutError when it takes longer than `timeout` seconds."""

    async def get_aio(self, id: str, timeout: float | None) -> Any: ...

    def status(self, id: str) -> dict[str, Any]:
        """What is known of an invocation."""

    async def status_aio(self, id: str) -> dict[str, Any]: ...

    def cancel(self, id: str) -> None:
        """Ask for an invocation's end; one that has ended is left alone."""

    async def cancel_aio(self, id: str) -> None: ...


def calls() -> Calls:
    """The way that this process calls."""
    channel = _channel.current()
    if channel is not None:
        return channel.calls
    from ._client.calls import OVER_HTTP

    return OVER_HTTP


def encode(args: Args, kwargs: Kwargs) -> tuple[str, bytes]:
    """Encoding and body: JSON where it says exactly the same, else a pickle of `(args, kwargs)`."""
    named = dict(kwargs)
    plain = plain_json({"args": list(args), "kwargs": named})
    if plain is not None:
        return "json", plain
    try:
        return "pickle", pickled((args, named))
    except Exception as error:  # whatever a user's __reduce__ may raise
        raise InvalidError(
            f"the arguments are neither JSON nor picklable ({type(error).__name__}: {error})",
            code="input_unserializable",
        ) from error


def decode(encoding: str, body: bytes) -> Any:
    """A result as it was returned."""
    if encoding == "json":
        return json.loads(body)
    try:
        return pickle.loads(body)
    except Exception as error:
        raise does_not_open(error) from error


def does_not_open(error: Exception) -> InvalidError:
    rule = "install what it is made of, or return plain values"
    if "cloudpickle" in str(error):
        rule = "it was written by another cloudpickle than the one here: pip install --upgrade cloudpickle"
    return InvalidError(
        f"the function succeeded, but its result does not open here ({type(error).__name__}: {error}); {rule}",
        code="result_not_serializable",
    )


def failure(told: Mapping[str, Any], exception: bytes) -> BaseException:
    """The exception itself, where it was stored and opens here, else its words; the remote traceback is its cause."""
    error = from_body(told)
    text = error.details.get("traceback")
    original = _opened(exception) if error.code == "exception" else None
    raised = error if original is None else original
    if text or original is not None:
        raised.__cause__ = RemoteTraceback(str(text or error.message), error.details)
    return raised


def _opened(exception: bytes) -> BaseException | None:
    if not exception:
        return None
    try:
        found = pickle.loads(exception)
    except Exception:  # its class is not importable here, or asks for arguments that pickle does not give
        return None
    return found if isinstance(found, BaseException) else None
