"""HTTP/1.1 with connections kept alive, shared by all threads; requests that may be repeated are, for a while."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import FabricError, UnreachableError, from_body
from .config import Target, target

__all__ = ["Http", "Reply", "gateway"]

#: How long a gateway that does not answer is tried again.
PATIENCE_S = 15.0
#: The same where nobody has listened so far: most likely `fabric up` was not run.
REFUSED_PATIENCE_S = 1.0
#: How long a gateway that has no room for it is asked again.
TURNED_AWAY_PATIENCE_S = 60.0
_CONNECT_S = 10.0
_IDLE_CONNECTIONS = 32
_RETRY_STATUS = (502, 503, 504)


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; the gateway's errors are raised by `raise_for_error`, not here."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            text = self.body[:200].decode("utf-8", "replace")
            raise FabricError(
                f"the gateway answered {self.status} with something that is not JSON: {text!r}", fault="platform"
            ) from error

    def raise_for_error(self) -> Reply:
        """Raises the error that the body tells of, if the status says so."""
        if self.status < 400:
            return self
        told = self.json()
        raise from_body(told.get("error") or {"message": f"the gateway answered {self.status}"})

    def turned_away(self) -> bool:
        """Nothing was accepted, for lack of room; an outcome of the same status names its invocation."""
        return self.status == 429 and "fabric-invocation" not in self.headers

    def retry_after(self) -> float:
        """Seconds, 0 where it does not say; a little more, so that not all come back at once."""
        said = self.headers.get("retry-after", "")
        return float(said) * random.uniform(1.0, 1.2) if said.isdigit() else 0.0


class Http:
    """One gateway's connections."""

    def __init__(self, to: Target, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.target = to
        self._pause = pause
        parts = urlsplit(to.url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._base = parts.path.rstrip("/")
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._reached = False

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float = 60.0,
        repeat: bool = True,
        turned_away_patience: float = TURNED_AWAY_PATIENCE_S,
    ) -> Reply:
        """Sends and reads everything. With `repeat`, again after a dropped connection, a 502-504 or a lack of room."""
        failing_since = 0.0  # a call may have waited long before its gateway died
        delay = 0.05
        while True:
            patience, asked = PATIENCE_S, 0.0
            try:
                reply = self._once(method, path, headers, body, timeout)
                if not repeat or not (reply.status in _RETRY_STATUS or reply.turned_away()):
                    return reply
                asked = reply.retry_after()
                if reply.turned_away():
                    patience = turned_away_patience
                problem: Exception | None = None
            except (OSError, http.client.HTTPException) as error:
                problem, reply = error, None
                if isinstance(error, ConnectionRefusedError) and not self._reached:
                    patience = REFUSED_PATIENCE_S
            now = time.monotonic()
            failing_since = failing_since or now
            if not repeat or now - failing_since + max(delay, asked) > patience:
                if reply is not None:
                    return reply
                raise self._unreachable(problem) from problem
            self._pause(max(delay, asked))
            delay = min(delay * 2, 2.0)

    def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection of its own and an answer still to be read; the caller closes the connection."""
        try:
            connection = self._connect(timeout)
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            connection.request(method, self._base + path, body, self._headers(headers))
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error

    def _once(self, method: str, path: str, headers: Mapping[str, str] | None, body: Any, timeout: float) -> Reply:
        connection = self._take(timeout)
        try:
            connection.request(method, self._base + path, body, self._headers(headers))
            response = connection.getresponse()
            reply = Reply(response.status, _lower(response), response.read())
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return reply

    def _headers(self, given: Mapping[str, str] | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.target.token}", "User-Agent": "fabric-python", **(given or {})}

    def _take(self, timeout: float) -> http.client.HTTPConnection:
        with self._lock:
            if self._pid != os.getpid():  # connections of the process we were forked from
                self._idle, self._pid = [], os.getpid()
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return self._connect(timeout)
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_S, context=context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
        connection.connect()
        self._reached = True
        connection.sock.settimeout(timeout)
        return connection

    def _unreachable(self, problem: BaseException | None) -> UnreachableError:
        return UnreachableError(
            f"no gateway answers at {self.target.url} ({type(problem).__name__}: {problem}); `fabric up` starts one",
            code="fabric_unreachable",
            retryable=True,
            fault="platform",
        )


def hang_up(connection: http.client.HTTPConnection | None) -> None:
    """Lets a thread that waits for bytes of the connection go on, with an exception."""
    if connection is not None and connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was gone already


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


_gateways: dict[Target, Http] = {}


def gateway() -> Http:
    """The connections to the gateway that environment and config name now."""
    to = target()
    known = _gateways.get(to)
    return known if known is not None else _gateways.setdefault(to, Http(to))
