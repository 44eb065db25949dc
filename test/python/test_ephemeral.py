"""`with app.run()` of a plain script: described, uploaded and deployed by itself, for as long as it runs."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import socket
import sys
import tarfile
import threading

import pytest
from test_describe import python

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
SCRIPT = f"""
import fabric_sdk as fabric
app = fabric.App("script", image=fabric.Image.python("{VERSION}"))
FACTOR = 3
@app.function()
def f(x): return x * FACTOR
if __name__ == "__main__":
    with app.run():
        print(f.remote(2))
    print("after")
"""


class Gateway:
    """Answers the three requests of such a script and notes when the deployment's connection ends."""

    def __init__(self, refusal: dict | None = None):
        self.refusal = refusal
        self.seen: list[tuple[str, dict, bytes]] = []
        self.ended = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rwb")
        while line := stream.readline().decode():
            headers = {}
            while header := stream.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            self.seen.append((line.rsplit(" ", 1)[0], headers, body))
            if "/deployments" in line:
                self.deploy(stream)
                return
            answer = json.dumps({"id": "inv_1", "state": "succeeded", "result": 6}).encode()
            stream.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
                + answer
            )
            stream.flush()

    def deploy(self, stream):
        end = {"type": "error", "error": self.refusal} if self.refusal else {"type": "deployed", "version": "run_7"}
        events = [{"type": "step", "text": "building"}, end]
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        lines = [json.dumps(event).encode() + b"\n" for event in events]
        for data in (lines[0], b"\n", lines[1]):  # an empty line says that the connection lives
            stream.write(b"%x\r\n%s\r\n" % (len(data), data))
            stream.flush()
        if stream.read(1) == b"":
            self.ended.set()


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("x = 1")
    return path


def test_a_script_deploys_itself_by_value(script):
    gateway = Gateway()
    ran = python(script, FABRIC_URL=gateway.url, FABRIC_TOKEN="t")
    assert ran.stdout == "6\nafter\n", ran.stderr
    assert "fabric: building" in ran.stderr and gateway.ended.wait(5)
    (put, _, source), (post, headers, deployment), (call, _, _) = gateway.seen
    assert put == f"PUT /v1/sources/{hashlib.sha256(source).hexdigest()}"
    assert post == "POST /v1/apps/script/deployments?ephemeral=true" and headers["authorization"] == "Bearer t"
    deployment = json.loads(deployment)
    assert set(deployment) == {"app", "source", "images", "functions"}
    assert deployment["functions"][0]["entry"] == {"pickle": "f.pkl"}
    assert call == "POST /v1/apps/script/functions/f/invocations?version=run_7"
    with tarfile.open(fileobj=io.BytesIO(source)) as tar:
        assert sorted(tar.getnames()) == ["beside.py", "f.pkl", "script.py"]
        assert pickle.load(tar.extractfile("f.pkl"))(5) == 15
    gateway.listener.close()


def test_a_deployment_that_fails_raises_its_code(script):
    gateway = Gateway({"code": "image_build_failed", "message": "pip said no"})
    ran = python(script, FABRIC_URL=gateway.url, FABRIC_TOKEN="t")
    assert ran.returncode == 1 and "InvalidError: pip said no [image_build_failed]" in ran.stderr
    gateway.listener.close()
