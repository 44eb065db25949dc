"""Deploying what a script or notebook defines, for as long as it runs or for good."""

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

from .. import _source
from ..describe import describe_app
from ..errors import FabricError, InvalidError, from_body
from .bundle import bundle
from .http import gateway

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    from ..app import App

__all__ = ["deploy", "deployed", "source_root"]


@contextmanager
def deployed(app: App) -> Iterator[str]:
    """The version's name; it ends with the block, because its connection does."""
    if app.name is None:
        app.rename(
            os.path.splitext(os.path.basename(getattr(sys.modules["__main__"], "__file__", "") or "notebook"))[0]
        )
    connection, response = _post(app, source_root(), "?ephemeral=true")
    try:
        yield _version(response)
    finally:
        if connection.sock is not None:
            connection.sock.close()
        connection.close()
        response.close()


def deploy(app: App, root: str | None) -> str:
    """The name of a version that stays, made of the files below `root`."""
    connection, response = _post(app, root, "")
    try:
        return _version(response)
    finally:
        connection.close()
        response.close()


def _post(app: App, root: str | None, query: str) -> tuple[HTTPConnection, HTTPResponse]:
    told = describe_app(app, root or "")
    source = bundle(root, {name: base64.b64decode(data) for name, data in told["pickles"].items()})
    digest = hashlib.sha256(source).hexdigest()
    http = gateway()
    http.request(
        "PUT", f"/v1/sources/{digest}", headers={"Content-Type": "application/gzip"}, body=source, timeout=300
    ).raise_for_error()
    deployment = {"app": told["app"], "source": digest, "images": told["images"], "functions": told["functions"]}
    return http.open(
        "POST",
        f"/v1/apps/{quote(told['app'], safe='')}/deployments{query}",
        headers={"Content-Type": "application/json", "Accept": "application/x-ndjson"},
        body=json.dumps(deployment).encode(),
    )


def _version(response: Any) -> str:
    if response.status >= 400:
        raise from_body(_object(response.read()).get("error") or {"message": f"the gateway answered {response.status}"})
    while line := response.readline():
        if not line.strip():
            continue  # a sign of life, in a step of a build that says nothing for long
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


def source_root() -> str | None:
    """The folder of the file that `fabric run` started, or of the running script; None in notebooks, whose functions
    travel by value alone."""
    if _source.loaded is not None:
        return _source.loaded.root
    file: str | None = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        return None
    folder = os.path.dirname(os.path.abspath(file))
    if folder == os.path.abspath(os.sep):
        raise InvalidError(
            f"{file} lies in the root folder, which would all be uploaded; move it", code="archive_invalid"
        )
    return folder
