"""A small runner for tests: listens on a socket, starts real shim processes, speaks the protocol by its own framing."""

from __future__ import annotations

import base64
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).parents[2] / "sdk" / "python" / "src"
SITE = os.path.dirname(os.path.dirname(__import__("cloudpickle").__file__))
DEADLINE_S = 6.0


class Connection:
    def __init__(self, sock: socket.socket):
        self.sock = sock
        sock.settimeout(DEADLINE_S)
        self._data = b""

    def send(self, header: dict, body: bytes = b"") -> None:
        head = json.dumps(header).encode()
        self.sock.sendall(struct.pack(">II", len(head), len(body)) + head + body)

    def receive(self) -> tuple[dict, bytes] | None:
        """The next frame; None when the shim closed the connection."""
        while True:
            if len(self._data) >= 8:
                head, body = struct.unpack_from(">II", self._data)
                assert head <= 256 * 1024 and body <= 1024 * 1024
                if len(self._data) >= 8 + head + body:
                    header = json.loads(self._data[8 : 8 + head])
                    content = self._data[8 + head : 8 + head + body]
                    self._data = self._data[8 + head + body :]
                    return header, content
            try:
                chunk = self.sock.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._data += chunk

    def close(self) -> None:
        self.sock.close()


class Runner:
    """Writes `code` as the bundle's module `user` and runs its function `f`."""

    def __init__(
        self,
        folder: Path,
        code: str = "",
        *,
        slots: int = 1,
        is_async: bool = False,
        entry: dict | None = None,
        retry: dict | None = None,
        more: dict | None = None,
    ):
        self.bundle = folder / "bundle"
        self.scratch = folder / "scratch"
        self.bundle.mkdir()
        self.scratch.mkdir()
        (self.bundle / "user.py").write_text(code)
        self.path = str(folder / "s")
        self.start_header = {
            "type": "start",
            "protocol": 1,
            "container": "con_test",
            "bundle": str(self.bundle),
            "scratch": str(self.scratch),
            "function": {
                "name": "f",
                "entry": entry or {"module": "user", "qualname": "f"},
                "is_async": is_async,
                "retry": retry,
                **(more or {}),
            },
            "slots": slots,
        }
        self.logs: list[tuple[str | None, str, str]] = []
        #: Lines the shim said it had dropped.
        self.lost = 0
        self.connection: Connection | None = None
        self._listener: socket.socket | None = None
        self.process: subprocess.Popen | None = None
        self._count = 0
        self.listen()

    # life

    def listen(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.settimeout(DEADLINE_S)
        self._listener.bind(self.path)
        self._listener.listen(1)

    def boot(
        self,
        *,
        python: str = sys.executable,
        flags: tuple[str, ...] = (),
        env: dict | None = None,
        module: str = "fabric_sdk._shim",
    ) -> Runner:
        self.process = subprocess.Popen(
            [python, *flags, "-m", module],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{SDK}{os.pathsep}{SITE}",
                "FABRIC_SOCKET": self.path,
                "FABRIC_CONTAINER": "con_test",
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.accept()
        return self

    def accept(self) -> None:
        sock, _ = self._listener.accept()
        self.connection = Connection(sock)
        self.connection.send(self.start_header)

    def ready(self) -> dict:
        return self.expect("ready")[0]

    def lose(self) -> None:
        """As when the runner's process dies: connection and socket are gone."""
        self.connection.close()
        self._listener.close()
        os.unlink(self.path)

    def come_back(self) -> dict:
        self.listen()
        self.accept()
        return self.ready()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(DEADLINE_S)
            self.process.stdout.close()
        if self.connection is not None:
            self.connection.close()
        self._listener.close()

    def exit_code(self) -> int:
        return self.process.wait(DEADLINE_S)

    # frames

    def expect(self, *kinds: str) -> tuple[dict, bytes]:
        """The next frame that is no log; it must be of one of these types."""
        while True:
            frame = self.connection.receive()
            assert frame is not None, (
                f"the shim hung up: {self.process.stdout.read().decode() if self.process.poll() is not None else ''}"
            )
            header, body = frame
            if header["type"] == "log" and "log" not in kinds:
                self.logs.append((header.get("id"), header["source"], body.decode()))
                self.lost += header.get("lost", 0)
                continue
            assert header["type"] in kinds, (header, body[:200])
            return header, body

    def expect_log(self, needle: str) -> None:
        while not any(needle in text for _id, _source, text in self.logs):
            header, body = self.expect("log")
            self.logs.append((header.get("id"), header["source"], body.decode()))

    def printed(self, source: str = "stdout", id: str | None = None) -> str:
        return "".join(text for name, from_source, text in self.logs if from_source == source and id in (None, name))

    def input(
        self,
        *args,
        id: str | None = None,
        method: str | None = None,
        accept_pickle: bool = False,
        pickled: bool = False,
        **kwargs,
    ) -> dict:
        self._count += 1
        name = {"id": id or f"inv_{self._count}", "generation": 1}
        body = pickle.dumps((args, kwargs)) if pickled else json.dumps({"args": args, "kwargs": kwargs}).encode()
        header = {"encoding": "pickle" if pickled else "json", "accept_pickle": accept_pickle, "timeout_ms": 60_000}
        if method is not None:
            header["method"] = method
        self.connection.send({"type": "input", **name, **header}, body)
        return name

    def ack(self, name: dict) -> None:
        self.connection.send({"type": "ack", "id": name["id"], "generation": name["generation"]})

    def outcome(self) -> tuple[dict, bytes]:
        header, body = self.expect("result", "error")
        self.ack(header)
        return header, body

    def call(self, *args, **kwargs):
        """The value a call returns; AssertionError with the error frame where it fails."""
        self.input(*args, **kwargs)
        header, body = self.outcome()
        assert header["type"] == "result", header
        return json.loads(body) if header["encoding"] == "json" else pickle.loads(body)

    def failure(self, *args, **kwargs) -> tuple[dict, bytes]:
        self.input(*args, **kwargs)
        header, body = self.outcome()
        assert header["type"] == "error", (header, body)
        return header["error"], body

    def request(self) -> dict:
        return self.expect("request")[0]

    def reply(self, request: dict, value=None, error: dict | None = None, body: bytes = b"") -> None:
        answer = {"ok": False, "error": error} if error else {"ok": True, "value": value}
        self.connection.send({"type": "reply", "request": request["request"], **answer}, body)

    def send_stream(self, number: int, data: bytes, *, piece: int = 256 * 1024) -> None:
        """Opens a stream and sends as credit allows."""
        self.connection.send({"type": "stream.open", "stream": number, "name": "test"})
        sent, credit = 0, 0
        while sent < len(data):
            while credit < 1:
                header, _ = self.expect("stream.credit")
                if header["stream"] == number:  # else it came too late for an earlier stream
                    credit += header["bytes"]
            part = data[sent : sent + min(piece, credit)]
            self.connection.send({"type": "stream.data", "stream": number}, part)
            sent += len(part)
            credit -= len(part)
        self.connection.send({"type": "stream.end", "stream": number})

    def receive_stream(self, number: int, *, window: int = 1 << 20) -> bytes:
        header, _ = self.expect("stream.open")
        assert header["stream"] == number and number % 2 == 1
        data, credit = b"", window
        self.connection.send({"type": "stream.credit", "stream": number, "bytes": window})
        while True:
            header, body = self.expect("stream.data", "stream.end")
            if header["type"] == "stream.end":
                return data
            data += body
            credit -= len(body)
            assert credit >= 0, "more than the credit allowed"
            if credit < window // 2:
                self.connection.send({"type": "stream.credit", "stream": number, "bytes": window - credit})
                credit = window


def open_pickle(text: str):
    return pickle.loads(base64.b64decode(text))
