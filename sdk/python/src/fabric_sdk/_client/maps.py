"""Maps over HTTP: pages of inputs posted, outcomes read from one answer that goes on until the end."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from .._feed import Pause
from ..call_options import CallOptions
from ..errors import UnreachableError, from_body
from .calls import accepts
from .http import TURNED_AWAY_PATIENCE_S, Http, hang_up

__all__ = ["HttpMap"]

_READ_BYTES = 256 * 1024
#: Whoever is refused so has a map that goes on when there is room.
_HELD_UP = ("queue_full", "quota_exceeded")


class HttpMap:
    """`Transport` of one map; without `path`, of one that was made earlier."""

    def __init__(
        self, http: Http, path: str = "", version: str | None = None, options: CallOptions | None = None
    ) -> None:
        self._http = http
        self._path = path
        self._version = version
        self._options = {"Idempotency-Key": str(uuid.uuid4()), **(options.headers() if options is not None else {})}
        self._connection: HTTPConnection | None = None
        self._left = False

    def open(self, lines: bytes, more: bool, pause: Pause) -> tuple[str, int]:
        query = {} if self._version is None else {"version": self._version}
        headers = {"Prefer": "respond-async", **self._options}
        told = self._post(_query(self._path, more, query), lines, headers, pause)
        return str(told["id"]), int(told["inputs"])

    def append(self, id: str, first: int, lines: bytes, more: bool, pause: Pause) -> int:
        path = _query(f"/v1/invocations/{quote(id)}/inputs", more, {"first": first})
        return int(self._post(path, lines, {}, pause)["inputs"])

    def cancel(self, id: str) -> None:
        self._http.request("POST", f"/v1/invocations/{quote(id)}/cancel", body=b"")

    def connected(self, id: str, position: int) -> Iterator[list[dict[str, Any]]]:
        path = f"/v1/invocations/{quote(id)}/results?after={position}&cursors=true"
        self._connection, response = self._http.open("GET", path, headers=accepts())
        rest = b""
        try:
            if self._left:  # when another thread found no connection yet to hang up
                raise _ended_early()
            if response.status != 200:
                told = json.loads(response.read())
                raise from_body(told.get("error") or {"message": f"the gateway answered {response.status}"})
            while data := response.read1(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                yield [json.loads(line) for line in lines if line]
        except HTTPException as error:
            raise _ended_early() from error
        finally:
            self._connection.close()
        raise _ended_early()

    def disconnect(self) -> None:
        self._left = True
        hang_up(self._connection)

    def _post(self, path: str, lines: bytes, headers: dict[str, str], pause: Pause) -> dict[str, Any]:
        """Held up for as long as map or token have as many inputs waiting as may; by other lack of room for a while."""
        form = {**accepts(), "Content-Type": "application/x-ndjson", "Fabric-Body": "call", **headers}
        began = time.monotonic()
        while True:
            reply = self._http.request("POST", path, headers=form, body=lines, turned_away_patience=0.0)
            told: dict[str, Any] = reply.json()
            if not reply.turned_away():
                reply.raise_for_error()
                return told
            asked = max(reply.retry_after(), 0.1)
            is_late = time.monotonic() - began + asked > TURNED_AWAY_PATIENCE_S
            if (is_late and told["error"]["code"] not in _HELD_UP) or pause(asked):
                reply.raise_for_error()


def _query(path: str, more: bool, further: dict[str, Any]) -> str:
    return f"{path}?{urlencode({'more': str(more).lower(), **further})}"


def _ended_early() -> UnreachableError:
    return UnreachableError("the connection ended before the map did", retryable=True, fault="platform")
