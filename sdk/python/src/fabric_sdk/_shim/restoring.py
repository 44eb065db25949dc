"""The files of a checkpoint on their way into a folder of scratch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

from .link import Link
from .streams import CONNECTION_LOST


class ConnectionLost(Exception):
    """Ask again: what was on its way is lost with the connection."""


class Restoring:
    """Of one checkpoint."""

    def __init__(self, link: Link, folder: str) -> None:
        self._link = link
        self.folder = folder
        self.finished: Callable[[dict[str, Any]], None] = lambda _answer: None
        self._left: dict[int, Any] = {}
        self._answer: dict[str, Any] = {}

    def begin(self, answer: dict[str, Any]) -> None:
        files = answer["value"]["files"]
        self._answer = answer
        self._left = {file["stream"]: file for file in files}
        os.makedirs(self.folder, exist_ok=True)
        if not files:
            self.finished(answer)
        for file in files:
            self._link.streams.claim(file["stream"], self._arrival(file))

    def abandon(self, reason: str) -> None:
        left, self._left = self._left, {}
        for number in left:
            self._link.streams.refuse(number, reason)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _arrival(self, file: dict[str, Any]) -> Callable[[str | None, str], None]:
        def arrived(spooled: str | None, problem: str) -> None:
            if self._left.pop(file["stream"], None) is None:
                if spooled is not None:
                    os.unlink(spooled)
                return
            if spooled is None:
                self._fail(problem)
                return
            try:
                self._place(spooled, file)
            except (OSError, ValueError) as error:
                self._fail(str(error))
                return
            if not self._left:
                self.finished(self._answer)

        return arrived

    def _place(self, spooled: str, file: dict[str, Any]) -> None:
        parts = file["path"].split("/")
        if file["path"].startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"the checkpoint names a file {file['path']!r}, which is not below its folder")
        size = os.path.getsize(spooled)
        if size != file["size"]:
            raise ValueError(f"{file['path']} arrived with {size} bytes instead of {file['size']}")
        target = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(spooled, target)

    def _fail(self, problem: str) -> None:
        if problem == CONNECTION_LOST:
            self.finished({"lost": True})
        else:
            code = "disk_full" if problem.startswith("disk_full") else "checkpoint_invalid"
            self.finished({"ok": False, "error": {"code": code, "message": f"restoring failed: {problem}"}})
