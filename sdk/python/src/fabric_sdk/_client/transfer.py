"""Large inputs and results, which go past the gateway: to and from the bucket by URLs that need no token."""

from __future__ import annotations

import http.client
import io
import json
import pickle
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from .._calls import does_not_open
from ..errors import UnreachableError
from .http import Http

__all__ = ["UPLOAD_BYTES", "download", "load_pickle", "upload"]

T = TypeVar("T")

#: Inputs larger than this are uploaded.
UPLOAD_BYTES = 8 * 1024 * 1024
_TRIES = 4
_CONNECT_S = 10.0
_SILENCE_S = 120.0
_READ_BYTES = 1024 * 1024


def upload(gateway: Http, body: bytes) -> str:
    """The id of an upload that holds `body`. UnreachableError where the bucket cannot be reached from here."""
    begun = _post(gateway, "/v1/uploads", {"size": len(body)})
    parts = []
    at = 0
    for part in begun["parts"]:
        piece = memoryview(body)[at : at + part["size"]]
        parts.append({"number": part["number"], "etag": _patiently(partial(_put, part["url"], piece))})
        at += part["size"]
    if "upload" in begun:
        path = f"/v1/uploads/{quote(begun['id'], safe='')}/complete"
        _post(gateway, path, {"upload": begun["upload"], "parts": parts})
    return str(begun["id"])


def _post(gateway: Http, path: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    return gateway.request("POST", path, body=json.dumps(body).encode(), headers=headers).raise_for_error().json()


def download(url: str, read: Callable[[io.BufferedReader], T]) -> T:
    """What `read` makes of the bytes at a URL; it is called again when they break off."""

    def once() -> T:
        connection, response = _send("GET", url)
        try:
            counted = _Counted(response)
            made = read(io.BufferedReader(counted, _READ_BYTES))
            counted.check_whole()
            return made
        finally:
            connection.close()

    return _patiently(once)


def load_pickle(file: io.BufferedReader) -> Any:
    """A pickled result as it was returned; errors of the connection are raised as they are."""
    try:
        return pickle.load(file)
    except (OSError, http.client.HTTPException):
        raise
    except Exception as error:
        raise does_not_open(error) from error


class _Counted(io.RawIOBase):
    """A reply's body as a file, which knows whether all of it came."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._left = response.length

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        count = self._response.readinto(into)
        if self._left is not None:
            self._left -= count
            if count == 0 and self._left > 0:
                raise http.client.IncompleteRead(b"", self._left)
        return count

    def check_whole(self) -> None:
        if self._left:
            raise http.client.IncompleteRead(b"", self._left)


def _put(url: str, piece: memoryview) -> str:
    connection, response = _send("PUT", url, piece)
    try:
        response.read()
        return response.getheader("ETag") or ""
    finally:
        connection.close()


def _send(
    method: str, url: str, body: memoryview | None = None
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, port, timeout=_CONNECT_S, context=ssl.create_default_context(), blocksize=_READ_BYTES
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_S, blocksize=_READ_BYTES)
    try:
        connection.connect()
        connection.sock.settimeout(_SILENCE_S)
        headers = {} if body is None else {"Content-Length": str(len(body))}
        connection.request(method, f"{parts.path}?{parts.query}", body, headers)
        response = connection.getresponse()
        if response.status >= 300:
            said = response.read(300).decode("utf-8", "replace")
            raise _Refused(f"the bucket answered {response.status}: {said}")
        return connection, response
    except BaseException:
        connection.close()
        raise


class _Refused(Exception):
    pass


def _patiently(step: Callable[[], T]) -> T:
    """Again after a connection that failed or broke, a few times."""
    for attempt in range(_TRIES):
        try:
            return step()
        except (OSError, http.client.HTTPException, _Refused) as error:
            if attempt == _TRIES - 1 or isinstance(error, ConnectionRefusedError):
                raise UnreachableError(
                    f"the bucket cannot be reached from here ({type(error).__name__}: {error}); it is where"
                    " FABRIC_S3_PUBLIC_ENDPOINT of the gateway says",
                    code="storage_unavailable",
                    retryable=True,
                    fault="platform",
                ) from error
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("not reached")
