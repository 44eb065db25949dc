"""What a process needs that imports the user's module and then only forks: a gang's shim, and a worker's parent."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from typing import Any

from .frames import PROTOCOL_VERSION, Decoder, Header, ProtocolError

_RECEIVE_BYTES = 256 * 1024
_CONNECT_DELAY_S = 0.02


def await_start(runner: socket.socket, path: str, decoder: Decoder) -> Header:
    """Connect, for as long as it takes, and read the first frame."""
    while True:
        try:
            runner.connect(path)
            break
        except OSError:  # no runner there yet
            time.sleep(_CONNECT_DELAY_S)
    while True:
        for header, _body in decoder.feed(receive(runner)):
            if header.get("type") != "start" or header.get("protocol") != PROTOCOL_VERSION:
                raise ProtocolError(f"the runner began with {header.get('type')!r}, {header.get('protocol')!r}")
            return header


def receive(runner: socket.socket) -> bytes:
    data = runner.recv(_RECEIVE_BYTES)
    if not data:
        raise ConnectionError("the runner hung up")
    return data


def hold_output() -> Any:
    """Nobody could read a pipe while the module is imported; a file takes it."""
    writer, path = tempfile.mkstemp()
    held = open(path, "rb", buffering=0)  # noqa: SIM115 (open for as long as the process lives)
    os.unlink(path)
    for fd in (1, 2):
        os.dup2(writer, fd)
    os.close(writer)
    return held


def warn_of_threads(whose: str) -> None:
    others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if others:
        print(
            f"fabric: importing the module started threads ({', '.join(others[:5])}), which {whose} do not have;"
            " start them inside the function",
            file=sys.stderr,
        )
