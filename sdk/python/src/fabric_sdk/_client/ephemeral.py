"""Deploying what a script or notebook defines, for as long as it runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..describe import describe_app
from ..errors import FabricError, InvalidError, from_body
from .bundle import bundle
from .http import gateway

if TYPE_CHECKING:
    from ..app import App

__all__ = ["deployed"]


@contextmanager
def deployed(app: App) -> Iterator[str]:
    """The version's name; it ends with the block, because its connection does."""
    root = _root()
    if app.name is None:
        app.rename(
            os.path.splitext(os.path.basename(getattr(sys.modules["__main__"], "__file__", "") or "notebook"))[0]
        )
    told = describe_app(app, root or "")
    source = bundle(root, {name: base64.b64decode(data) for name, data in told["pickles"].items()})
    digest = hashlib.sha256(source).hexdigest()
    http = gateway()
    http.request(
        "PUT", f"/v1/sources/{digest}", headers={"Content-Type": "application/gzip"}, body=source, timeout=300
    ).raise_for_error()
    deployment = {"app": told["app"], "source": digest, "images": told["images"], "functions": told["functions"]}
    connection, response = http.open(
        "POST",
        f"/v1/apps/{quote(told['app'], safe='')}/deployments?ephemeral=true",
        headers={"Content-Type": "application/json", "Accept": "application/x-ndjson"},
        body=json.dumps(deployment).encode(),
    )
    try:
        yield _version(response)
    finally:
        if connection.sock is not None:
            connection.sock.close()
        connection.close()
        response.close()


def _version(response: Any) -> str:
    if response.status >= 400:
        raise from_body(_object(response.read()).get("error") or {"message": f"the gateway answered {response.status}"})
    while line := response.readline():
        event = _object(line)
        if event.get("type") == "deployed":
            return str(event["version"])
        if event.get("type") == "error":
            raise from_body(event["error"])
        if event.get("type") in ("step", "log"):
            print(f"fabric: {event['text'].rstrip()}", file=sys.stderr)
    raise FabricError("the gateway ended the deployment without a word", retryable=True, fault="platform")


def _object(line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise FabricError(
            f"the gateway answered with something that is not JSON: {line[:200]!r}", fault="platform"
        ) from error
    return found


def _root() -> str | None:
    """The running script's folder; None in notebooks, whose functions travel by value alone."""
    file: str | None = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        return None
    folder = os.path.dirname(os.path.abspath(file))
    if folder == os.path.abspath(os.sep):
        raise InvalidError(
            f"{file} lies in the root folder, which would all be uploaded; move it", code="archive_invalid"
        )
    return folder
