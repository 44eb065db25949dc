"""Fetching checkpoints over HTTP, outside function containers."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from typing import Any
from urllib.parse import quote

from ..errors import FabricError, NotFoundError
from .http import Http, gateway

__all__ = ["choose", "load"]

_CHUNK = 1024 * 1024


def load(series: str, step: int | None, best: str | None, order: str) -> dict[str, Any] | None:
    """Download one checkpoint into a temporary folder, which belongs to the caller. None when there is none."""
    http = gateway()
    base = f"/v1/checkpoints/{quote(series, safe='')}"
    try:
        listed = http.request("GET", base).raise_for_error().json()["checkpoints"]
    except NotFoundError:
        return None
    chosen = choose(listed, step, best, order)
    if chosen is None:
        return None
    folder = tempfile.mkdtemp(prefix="fabric-checkpoint-")
    try:
        for file in chosen["files"]:
            _download(http, f"{base}/{chosen['step']}/files/{quote(file['path'])}", folder, file)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {"path": folder, "series": series, "step": chosen["step"], "metrics": chosen["metrics"]}


def choose(listed: list[dict[str, Any]], step: int | None, best: str | None, order: str) -> dict[str, Any] | None:
    """By step, by best metric (the later of equals), else the latest."""
    if step is not None:
        return next((one for one in listed if one["step"] == step), None)
    if best is None:
        return max(listed, key=lambda one: int(one["step"]), default=None)
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
