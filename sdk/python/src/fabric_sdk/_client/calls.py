"""Calling functions over HTTP: arguments out, results and exceptions back."""

from __future__ import annotations

import base64
import json
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from .._aio import in_thread
from .._calls import ENDED, Args, Kwargs, decode, encode, failure
from .._feed import Feed
from .._interrupt import telling
from .._reader import Reader
from .._results import Results
from .._values import plain_json
from ..call_options import CallOptions
from ..errors import FabricError, UnreachableError, WaitTimeoutError
from ..maps import Call
from .http import Http, Reply, gateway
from .transfer import UPLOAD_BYTES, download, load_pickle, upload

__all__ = ["OVER_HTTP", "HttpCalls"]

#: How long the gateway is asked to wait in one request.
WAIT_S = 60
#: How much longer than it was asked to wait it may take to answer.
_SLACK_S = 30
_PICKLE = "application/vnd.fabric.pickle"
#: What a gateway takes in a request of its own, unless it is set otherwise.
_GATEWAY_BYTES = 64 * 1024 * 1024


class HttpCalls:
    """`Calls` by the gateway that environment and config name."""

    def remote(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> Any:
        http = gateway()
        with telling(f"the call of {app}/{fn} goes on; `fabric invocation list` shows its id, `cancel ID` ends it"):
            reply = _accept(http, app, fn, args, kwargs, version, options, prefer=f"wait={WAIT_S}")
            if reply.status != 202:
                return _outcome(http, reply)
        return self.get(str(reply.json()["id"]), None)

    async def remote_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> Any:
        return await in_thread(self.remote, app, fn, args, kwargs, version, options)

    def spawn(self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions) -> str:
        reply = _accept(gateway(), app, fn, args, kwargs, version, options, prefer="respond-async")
        reply.raise_for_error()
        return str(reply.json()["id"])

    async def spawn_aio(
        self, app: str, fn: str, args: Args, kwargs: Kwargs, version: str | None, options: CallOptions
    ) -> str:
        return await in_thread(self.spawn, app, fn, args, kwargs, version, options)

    def map(
        self, app: str, fn: str, version: str | None, inputs: Iterable[Call], options: CallOptions, awaited: bool
    ) -> Results:
        from .maps import HttpMap

        path = f"/v1/apps/{quote(app, safe='')}/functions/{quote(fn, safe='')}/map"
        transport = HttpMap(gateway(), path, version, options)
        return Results(transport, feed=Feed(transport, inputs))

    def generate(self, *call: Any, on_restart: str) -> Reader:
        from . import generators

        return generators.call(*call, on_restart=on_restart)

    def follow(self, id: str, on_restart: str) -> Reader:
        from . import generators

        return generators.follow(id, on_restart)

    def results(self, id: str) -> Results:
        from .maps import HttpMap

        return Results(HttpMap(gateway()), id=id)

    def get(self, id: str, timeout: float | None) -> Any:
        with telling(f"{id} goes on; `fabric invocation cancel {id}` ends it"):
            return self._get(id, timeout)

    def _get(self, id: str, timeout: float | None) -> Any:
        http = gateway()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_S if deadline is None else max(0.0, deadline - time.monotonic())
            wait = min(WAIT_S, left)
            reply = http.request(
                "GET",
                f"/v1/invocations/{quote(id, safe='')}/result",
                headers={**accepts(), "Prefer": f"wait={wait:g}" if wait < 1 else f"wait={int(wait)}"},
                timeout=wait + _SLACK_S,
            )
            if reply.status != 202:
                return _outcome(http, reply)
            if deadline is not None and time.monotonic() >= deadline:
                reason = reply.json().get("reason") or reply.json().get("state", "")
                raise WaitTimeoutError(
                    f"{id} has not ended after {timeout:g} s ({reason}); it goes on",
                    code="wait_timeout",
                    retryable=True,
                )

    async def get_aio(self, id: str, timeout: float | None) -> Any:
        return await in_thread(self.get, id, timeout)

    def status(self, id: str) -> dict[str, Any]:
        told: dict[str, Any] = (
            gateway().request("GET", f"/v1/invocations/{quote(id, safe='')}").raise_for_error().json()
        )
        return told

    async def status_aio(self, id: str) -> dict[str, Any]:
        return await in_thread(self.status, id)

    def cancel(self, id: str) -> None:
        reply = gateway().request("POST", f"/v1/invocations/{quote(id, safe='')}/cancel", body=b"")
        try:
            reply.raise_for_error()
        except FabricError as error:
            if error.code != "invocation_ended":
                raise

    async def cancel_aio(self, id: str) -> None:
        await in_thread(self.cancel, id)


OVER_HTTP = HttpCalls()


def _accept(
    http: Http,
    app: str,
    fn: str,
    args: Args,
    kwargs: Kwargs,
    version: str | None,
    options: CallOptions,
    *,
    prefer: str,
) -> Reply:
    headers, body = encoded_call(args, kwargs)
    headers.update({**accepts(), "Prefer": prefer, "Idempotency-Key": str(uuid.uuid4()), **options.headers()})
    path = invocations_path(app, fn, version)
    if len(body) > UPLOAD_BYTES:
        try:
            headers["Fabric-Input"] = upload(http, body)
            body = b""
        except UnreachableError:
            if len(body) > _GATEWAY_BYTES:
                raise
    return http.request("POST", path, headers=headers, body=body, timeout=WAIT_S + _SLACK_S)


def encoded_call(args: Args, kwargs: Kwargs) -> tuple[dict[str, str], bytes]:
    """Headers and body."""
    encoding, body = encode(args, kwargs)
    if encoding == "json":
        return {"Content-Type": "application/json", "Fabric-Body": "call"}, body
    return {"Content-Type": _PICKLE}, body


def invocations_path(app: str, fn: str, version: str | None) -> str:
    path = f"/v1/apps/{quote(app, safe='')}/functions/{quote(fn, safe='')}/invocations"
    return path if version is None else f"{path}?version={quote(version, safe='')}"


def accepts() -> dict[str, str]:
    return {"Fabric-Accept": "pickle, redirect", "Fabric-Python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def _outcome(http: Http, reply: Reply) -> Any:
    """The result that a final reply carries, or what it tells of is raised."""
    if reply.status == 303:
        return _large_result(http, reply)
    if reply.headers.get("content-type", "").startswith(_PICKLE):
        return decode("pickle", reply.body)
    told = reply.json()
    if reply.status < 400 and "error" not in told:
        if told.get("state") not in ENDED:
            raise FabricError(f"the gateway answered {reply.status} with state {told.get('state')!r}", fault="platform")
        return told.get("result")
    raise _failure(http, told, reply.status)


def _large_result(http: Http, reply: Reply) -> Any:
    """From the bucket; through the gateway where the bucket cannot be reached from here."""
    is_pickle = reply.headers.get("fabric-encoding") == "pickle"
    try:
        return download(reply.headers["location"], load_pickle if is_pickle else json.load)
    except UnreachableError:
        id = quote(reply.headers["fabric-invocation"], safe="")
        through = {**accepts(), "Fabric-Accept": "pickle"}
        return _outcome(http, http.request("GET", f"/v1/invocations/{id}/result", headers=through))


def ended(http: Http, event: Mapping[str, Any]) -> Any:
    """The result that the last event of an invocation tells, or what it tells of is raised."""
    if event["state"] != "succeeded":
        raise _failure(http, event, 500)
    if "location" in event:
        return OVER_HTTP.get(event["id"], None)
    return decode("pickle", base64.b64decode(event["pickle"])) if "pickle" in event else event.get("result")


def _failure(http: Http, told: Mapping[str, Any], status: int) -> BaseException:
    error = told.get("error") or {"message": f"the gateway answered {status}"}
    id = told.get("id")
    return failure(error, _exception(http, str(id)) if error.get("code") == "exception" and id else b"")


def _exception(http: Http, id: str) -> bytes:
    """The pickled exception, where it was stored."""
    reply = http.request("GET", f"/v1/invocations/{quote(id, safe='')}/exception", headers=accepts())
    return reply.body if reply.status == 200 else b""


def pretty(value: Any) -> str:
    """A result for people and pipes: JSON where it is JSON, else Python's repr."""
    return json.dumps(value, ensure_ascii=False) if plain_json(value) is not None else repr(value)
