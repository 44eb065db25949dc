"""Fetching checkpoints over HTTP, outside function containers."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from ..errors import FabricError, NotFoundError
from .http import Http, gateway

__all__ = ["find", "listed", "load", "metrics"]

_CHUNK = 1024 * 1024
_AT_ONCE = 4


def load(series: str, step: int | None, best: str | None, order: str, at: str | None = None) -> dict[str, Any] | None:
    """Download one checkpoint into a temporary folder, which goes when this process ends. None when there is none."""
    http = gateway()
    base = f"/v1/checkpoints/{quote(series, safe='')}"
    chosen = find(series, step, best, order, at)
    if chosen is None:
        return None
    folder = tempfile.mkdtemp(prefix="fabric-checkpoint-")
    atexit.register(_remove, folder, os.getpid())
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            started = [
                pool.submit(_download, http, f"{base}/{chosen['step']}/files/{quote(file['path'])}", folder, file)
                for file in chosen["files"]
            ]
            for one in started:
                one.result()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {"path": folder, "series": series, "step": chosen["step"], "metrics": chosen["metrics"]}


def find(series: str, step: int | None, best: str | None, order: str, at: str | None = None) -> dict[str, Any] | None:
    """The manifest of one checkpoint."""
    if best is not None:
        return _best(listed(series), best, order)
    name = at or ("latest" if step is None else str(step))
    path = f"/v1/checkpoints/{quote(series, safe='')}/{quote(name, safe='')}"
    try:
        manifest: dict[str, Any] = gateway().request("GET", path).raise_for_error().json()
    except NotFoundError:
        return None
    return manifest


def listed(series: str) -> list[dict[str, Any]]:
    """The manifests of a series, by step."""
    try:
        reply = gateway().request("GET", f"/v1/checkpoints/{quote(series, safe='')}").raise_for_error()
    except NotFoundError:
        return []
    found: list[dict[str, Any]] = reply.json()["checkpoints"]
    return found


def metrics(series: str) -> list[dict[str, Any]]:
    """Every row that was reported to a series, in the order of the reports."""
    try:
        reply = gateway().request("GET", f"/v1/checkpoints/{quote(series, safe='')}/metrics").raise_for_error()
    except NotFoundError:
        return []
    return [json.loads(line) for line in reply.body.splitlines() if line]


def _remove(folder: str, owner: int) -> None:
    """A forked child may end long before the process that still reads the files."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _best(listed: list[dict[str, Any]], best: str, order: str) -> dict[str, Any] | None:
    """The later of equals."""
    measured = [one for one in listed if _is_number(one["metrics"].get(best))]
    sign = 1 if order == "max" else -1
    return max(measured, key=lambda one: (sign * one["metrics"][best], one["step"]), default=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _download(http: Http, path: str, folder: str, file: dict[str, Any]) -> None:
    target = os.path.realpath(os.path.join(folder, file["path"]))
    if not target.startswith(os.path.realpath(folder) + os.sep):
        raise FabricError(
            f"the checkpoint names a file {file['path']!r}, which is not below its folder", fault="platform"
        )
    os.makedirs(os.path.dirname(target), exist_ok=True)
    connection, response = http.open("GET", path)
    digest, size = hashlib.sha256(), 0
    try:
        if response.status != 200:
            raise FabricError(f"the gateway answered {response.status} for {path}", fault="platform")
        with open(target, "wb") as out:
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
    finally:
        connection.close()
    if size != file["size"] or digest.hexdigest() != file["sha256"]:
        raise FabricError(
            f"{file['path']} arrived damaged: {size} of {file['size']} bytes", retryable=True, fault="platform"
        )
