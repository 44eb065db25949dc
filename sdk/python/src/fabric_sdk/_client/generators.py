"""Reading what a generator on fabric yields over HTTP, also through lost connections."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import quote

from .._reader import Event, Reader
from ..call_options import CallOptions
from ..errors import FabricError, UnreachableError
from . import calls
from .http import PATIENCE_S, REFUSED_PATIENCE_S, Http, Reply, gateway, hang_up

__all__ = ["Reader", "call", "follow"]

#: The gateway sends something at least every 15 seconds.
_SILENCE_S = 60
_RECEIVE_BYTES = 64 * 1024
_TRY_AGAIN = (502, 503, 504)


def call(
    app: str,
    fn: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    version: str | None,
    options: CallOptions,
    *,
    on_restart: str,
) -> Reader:
    """A reader that makes the call when it is first read, and cancels it when it is left before the end."""
    headers, body = calls.encoded_call(args, kwargs)
    headers.update({"Idempotency-Key": str(uuid.uuid4()), "Fabric-Call": "remote_gen", **options.headers()})
    path = calls.invocations_path(app, fn, version)
    return HttpReader(gateway(), on_restart, cancels=True, first=_Request("POST", path, headers, body))


def follow(id: str, on_restart: str) -> Reader:
    """A reader of an invocation that was made earlier; it goes on when the reader leaves."""
    return HttpReader(gateway(), on_restart, cancels=False, id=id)


class _Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


class HttpReader(Reader):
    """`Reader` of one connection after the other."""

    def __init__(
        self, http: Http, on_restart: str, *, cancels: bool, id: str | None = None, first: _Request | None = None
    ) -> None:
        super().__init__(on_restart, cancels=cancels, id=id)
        self._http = http
        self._first = first
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self._line = b""
        self._failing_since: float | None = None

    def receive(self) -> list[Event]:
        """Connects again where need be."""
        delay = 0.05
        while True:
            if self.closed:
                raise FabricError("the generator was closed while it was read", code="bad_request")
            try:
                response = self._response or self._connect()
                data = response.read1(_RECEIVE_BYTES)
                if data:
                    self._failing_since = None
                    *lines, self._line = (self._line + data).split(b"\n")
                    return [json.loads(line) for line in lines if line]
                problem: Exception = HTTPException("the connection ended early")
            except (OSError, HTTPException, UnreachableError) as error:
                problem = error
            self._disconnect()
            self._check_patience(problem, delay)
            time.sleep(delay)
            delay = min(delay * 2, 2.0)

    def _connect(self) -> HTTPResponse:
        if self.id is None and self._first is not None:
            request = self._first
        else:
            request = _Request("GET", f"/v1/invocations/{quote(self.id or '', safe='')}/events", {}, None)
        headers = {**request.headers, **calls.accepts(), "Accept": "application/x-ndjson"}
        if self.last is not None:
            headers["Last-Event-ID"] = self.last
        connection, response = self._http.open(
            request.method, request.path, headers=headers, body=request.body, timeout=_SILENCE_S
        )
        self._connection = connection
        if response.status in _TRY_AGAIN:
            raise HTTPException(f"the gateway answered {response.status}")
        if response.status >= 400:
            Reply(response.status, {}, response.read()).raise_for_error()
        self.id = response.getheader("Fabric-Invocation") or self.id
        self._response = response
        self._line = b""
        return response

    def outcome(self, end: Event) -> Any:
        return calls.ended(self._http, end)

    def disconnect(self) -> None:
        hang_up(self._connection)

    def leave(self) -> None:
        self._disconnect()
        super().leave()

    def cancel(self, id: str) -> None:
        calls.OVER_HTTP.cancel(id)

    def _disconnect(self) -> None:
        connection, self._connection, self._response = self._connection, None, None
        if connection is not None:
            connection.close()

    def _check_patience(self, problem: Exception, delay: float) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        refused = isinstance(problem.__cause__, ConnectionRefusedError) and self.id is None
        if now - self._failing_since + delay > (REFUSED_PATIENCE_S if refused else PATIENCE_S):
            if isinstance(problem, UnreachableError):
                raise problem
            raise UnreachableError(
                f"the gateway at {self._http.target.url} does not go on answering ({problem})",
                code="fabric_unreachable",
                retryable=True,
                fault="platform",
            ) from problem
