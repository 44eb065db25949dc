"""Large arguments and results, which go past the gateway: against a server that plays gateway and bucket."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fabric_sdk as fabric
import pytest
from fabric_sdk._client import transfer

PART = 5_000_000


class Fabric:
    """Keeps what is uploaded; `faults` are paths whose next request is dropped."""

    def __init__(self):
        self.parts, self.calls, self.tokens, self.faults, self.result = {}, [], {}, [], b""
        self.bucket = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.split("?")[0]
                outer.tokens[path] = self.headers.get("authorization")
                if path in outer.faults:
                    outer.faults.remove(path)
                    if self.command == "GET":  # half of an answer
                        self.send_response(200)
                        self.send_header("Content-Length", str(len(outer.result)))
                        self.end_headers()
                        self.wfile.write(outer.result[: len(outer.result) // 2])
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, answer = outer.answer(self.command, path, self.headers, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, headers, body):
        bucket = self.bucket or self.url
        if path == "/v1/uploads":
            size = json.loads(body)["size"]
            sizes = [PART] * (size // PART) + ([size % PART] if size % PART else [])
            parts = [
                {"number": n, "size": bytes, "url": f"{bucket}/put/{n}?signed=1"} for n, bytes in enumerate(sizes, 1)
            ]
            return 201, {}, json.dumps({"id": "upl_1", "parts": parts, "upload": 'name"1'}).encode()
        if method == "PUT":
            self.parts[path] = body
            return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        if path.endswith("/complete"):
            self.completed = json.loads(body)
            return 200, {}, b"{}"
        if path == "/bucket/result":
            return 200, {}, self.result
        if method == "POST":
            self.calls.append((dict(headers), body))
        if headers["Fabric-Accept"] == "pickle, redirect" and self.result:
            location = {"Location": f"{bucket}/bucket/result?signed=1", "Fabric-Encoding": "pickle"}
            return 303, {**location, "Fabric-Invocation": "inv_1"}, b""
        if self.result:
            return 200, {"Content-Type": "application/vnd.fabric.pickle"}, self.result
        return 200, {"Content-Type": "application/json"}, b'{"id":"inv_1","state":"succeeded","result":1}'


@pytest.fixture
def server(monkeypatch):
    made = Fabric()
    monkeypatch.setenv("FABRIC_URL", made.url)
    monkeypatch.setenv("FABRIC_TOKEN", "secret")
    yield made
    made.server.shutdown()
    made.server.server_close()


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


F = fabric.Function.from_name("a", "f")


def test_large_arguments_are_uploaded_in_parts_without_the_token(server):
    server.faults = ["/put/2"]
    data = bytes(range(256)) * 50_000
    assert F.remote(data) == 1
    assert pickle.loads(b"".join(server.parts[f"/put/{n}"] for n in (1, 2, 3))) == ((data,), {})
    etags = [f'"{hashlib.md5(server.parts[f"/put/{n}"]).hexdigest()}"' for n in (1, 2, 3)]
    named = [{"number": n, "etag": etag} for n, etag in enumerate(etags, 1)]
    assert server.completed == {"upload": 'name"1', "parts": named}
    (headers, body) = server.calls[0]
    assert (headers["Fabric-Input"], body) == ("upl_1", b"")
    assert headers["Content-Type"] == "application/vnd.fabric.pickle"
    assert server.tokens["/put/1"] is None


def test_small_arguments_and_those_whose_bucket_is_out_of_reach_go_through_the_gateway(server):
    F.remote("small")
    server.bucket = closed_port()
    data = bytes(transfer.UPLOAD_BYTES + 1)
    assert F.remote(data) == 1
    assert [("Fabric-Input" in headers, len(body) > len(data)) for headers, body in server.calls] == [
        (False, False),
        (False, True),
    ]


def test_a_large_result_is_read_from_the_bucket_again_when_it_breaks_off(server):
    value = [b"x" * 3_000_000, {"a": (1, 2)}]
    server.result = pickle.dumps(value)
    server.faults = ["/bucket/result"]
    assert F.remote() == value
    assert server.tokens["/bucket/result"] is None


def test_a_large_result_comes_through_the_gateway_where_the_bucket_is_out_of_reach(server):
    server.result = pickle.dumps((1, 2))
    server.bucket = closed_port()
    assert F.remote() == (1, 2)


def test_a_result_that_does_not_open_says_so(server):
    server.result = b"\x80\x05cno_such_module\nThing\n."
    with pytest.raises(fabric.InvalidError, match="does not open here"):
        F.remote()


def test_a_result_of_another_cloudpickle_says_what_to_install(server):
    server.result = b"ccloudpickle.cloudpickle\n_made_by_a_newer_one\n."
    with pytest.raises(fabric.InvalidError, match="pip install --upgrade cloudpickle"):
        F.remote()
