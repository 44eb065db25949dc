"""Showing what an invocation prints while somebody waits for it."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from ..errors import UnreachableError
from .http import gateway, hang_up

__all__ = ["following"]

_AGAIN_S = 1.0
_HANG_UP_S = 3.0
#: Lines reach the store a moment after the invocation's end; this is how long that moment is waited for.
_LATE_LINES_S = (0.05, 0.15)


@contextmanager
def following(id: str) -> Iterator[None]:
    """Its lines appear on stdout and stderr while the block runs."""
    lines = _Lines(id)
    thread = threading.Thread(target=lines.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        lines.end(thread)


class _Lines:
    def __init__(self, id: str) -> None:
        self._path = f"/v1/invocations/{quote(id, safe='')}/logs"
        self._after = ""
        self._ended = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._read(follow=True)
            except (OSError, http.client.HTTPException, UnreachableError):
                pass  # the gateway restarts, or the end was told: whoever waits for the outcome says so
            self._ended.wait(_AGAIN_S)

    def end(self, thread: threading.Thread) -> None:
        """A reading without `follow` sees what the stream had not brought yet."""
        self._ended.set()
        hang_up(self._connection)
        thread.join(_HANG_UP_S)
        if thread.is_alive():  # it would show lines a second time
            return
        try:
            for moment in _LATE_LINES_S:
                time.sleep(moment)
                self._read(follow=False)
        except (OSError, http.client.HTTPException, UnreachableError) as error:
            print(f"fabric: its last lines could not be read ({error}); fabric logs has them", file=sys.stderr)

    def _read(self, *, follow: bool) -> None:
        position = f"&after={quote(self._after)}" if self._after else ""
        path = f"{self._path}?follow={'true' if follow else 'false'}{position}"
        self._connection, response = gateway().open("GET", path, timeout=60.0)
        try:
            while response.status == 200 and (line := response.readline()):
                if line.strip():
                    self._show(json.loads(line))
        finally:
            self._connection.close()

    def _show(self, line: dict[str, Any]) -> None:
        self._after = str(line.get("seq", self._after))
        out = sys.stdout if line.get("source") == "stdout" else sys.stderr
        rank = f"[{line['rank']}] " if "rank" in line else ""
        print(f"{rank}{line.get('text', '')}", file=out, flush=True)
