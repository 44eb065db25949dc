"""Calling functions: arguments out, results and exceptions back."""

from __future__ import annotations

import json
import pickle
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .._values import pickled, plain_json
from ..errors import FabricError, InvalidError, RemoteTraceback, WaitTimeoutError, from_body
from .http import Http, Reply, gateway

__all__ = ["cancel", "get", "remote", "spawn", "status"]

#: How long the gateway is asked to wait in one request.
WAIT_S = 60
#: How much longer than it was asked to wait it may take to answer.
_SLACK_S = 30
_PICKLE = "application/vnd.fabric.pickle"
_ENDED = ("succeeded", "failed", "cancelled")


def remote(app: str, fn: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], version: str | None) -> Any:
    """Call and wait for as long as it takes."""
    http = gateway()
    reply = _accept(http, app, fn, args, kwargs, version, prefer=f"wait={WAIT_S}")
    if reply.status == 202:
        return get(str(reply.json()["id"]), None)
    return _outcome(http, reply)


def spawn(app: str, fn: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], version: str | None) -> str:
    """Call without waiting: the invocation's id."""
    reply = _accept(gateway(), app, fn, args, kwargs, version, prefer="respond-async")
    reply.raise_for_error()
    return str(reply.json()["id"])


def get(id: str, timeout: float | None) -> Any:
    """An invocation's result; WaitTimeoutError when it takes longer than `timeout` seconds."""
    http = gateway()
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = WAIT_S if deadline is None else max(0.0, deadline - time.monotonic())
        wait = min(WAIT_S, left)
        reply = http.request(
            "GET",
            f"/v1/invocations/{quote(id, safe='')}/result",
            headers={**_accepts(), "Prefer": f"wait={wait:g}" if wait < 1 else f"wait={int(wait)}"},
            timeout=wait + _SLACK_S,
        )
        if reply.status != 202:
            return _outcome(http, reply)
        if deadline is not None and time.monotonic() >= deadline:
            reason = reply.json().get("reason") or reply.json().get("state", "")
            raise WaitTimeoutError(
                f"{id} has not ended after {timeout:g} s ({reason}); it goes on", code="wait_timeout", retryable=True
            )


def status(id: str) -> dict[str, Any]:
    """What the gateway knows of an invocation."""
    told: dict[str, Any] = gateway().request("GET", f"/v1/invocations/{quote(id, safe='')}").raise_for_error().json()
    return told


def cancel(id: str) -> None:
    """Ask for an invocation's end; one that has ended is left alone."""
    reply = gateway().request("POST", f"/v1/invocations/{quote(id, safe='')}/cancel", body=b"")
    try:
        reply.raise_for_error()
    except FabricError as error:
        if error.code != "invocation_ended":
            raise


def encode_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and body: JSON where it says exactly the same, else a pickle of `(args, kwargs)`."""
    named = dict(kwargs)
    plain = plain_json({"args": list(args), "kwargs": named})
    if plain is not None:
        return {"Content-Type": "application/json", "Fabric-Body": "call"}, plain
    try:
        return {"Content-Type": _PICKLE}, pickled((args, named))
    except Exception as error:  # whatever a user's __reduce__ may raise
        raise InvalidError(
            f"the arguments are neither JSON nor picklable ({type(error).__name__}: {error})",
            code="input_unserializable",
        ) from error


def _accept(
    http: Http,
    app: str,
    fn: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    version: str | None,
    *,
    prefer: str,
) -> Reply:
    headers, body = encode_call(args, kwargs)
    path = f"/v1/apps/{quote(app, safe='')}/functions/{quote(fn, safe='')}/invocations"
    if version is not None:
        path += f"?version={quote(version, safe='')}"
    headers.update(_accepts())
    headers["Prefer"] = prefer
    headers["Idempotency-Key"] = str(uuid.uuid4())
    return http.request("POST", path, headers=headers, body=body, timeout=WAIT_S + _SLACK_S)


def _accepts() -> dict[str, str]:
    return {"Fabric-Accept": "pickle", "Fabric-Python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def _outcome(http: Http, reply: Reply) -> Any:
    """The result that a final reply carries, or what it tells of is raised."""
    if reply.headers.get("content-type", "").startswith(_PICKLE):
        return _open(reply.body)
    told = reply.json()
    if reply.status < 400 and "error" not in told:
        if told.get("state") not in _ENDED:
            raise FabricError(f"the gateway answered {reply.status} with state {told.get('state')!r}", fault="platform")
        return told.get("result")
    error = from_body(told.get("error") or {"message": f"the gateway answered {reply.status}"})
    text = error.details.get("traceback")
    if error.code == "exception" and told.get("id"):
        original = _exception(http, str(told["id"]))
        if original is not None:
            raise original from RemoteTraceback(str(text or error.message))
    if text:
        raise error from RemoteTraceback(str(text))
    raise error


def _open(body: bytes) -> Any:
    try:
        return pickle.loads(body)
    except Exception as error:
        raise InvalidError(
            f"the function succeeded, but its result does not open here ({type(error).__name__}: {error}); install what"
            " it is made of, or return plain values",
            code="result_not_serializable",
        ) from error


def _exception(http: Http, id: str) -> BaseException | None:
    """The exception itself, where it was stored and opens here; else None and its words are raised instead."""
    reply = http.request("GET", f"/v1/invocations/{quote(id, safe='')}/exception", headers=_accepts())
    if reply.status != 200:
        return None
    try:
        found = pickle.loads(reply.body)
    except Exception:  # its class is not importable here, or asks for arguments that pickle does not give
        return None
    return found if isinstance(found, BaseException) else None


def pretty(value: Any) -> str:
    """A result for people and pipes: JSON where it is JSON, else Python's repr."""
    return json.dumps(value, ensure_ascii=False) if plain_json(value) is not None else repr(value)
