"""The client against a small HTTP server that answers by script."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fabric_sdk as fabric
import pytest
from fabric_sdk._client import http as http_module
from fabric_sdk._client.config import Target, target
from fabric_sdk._client.http import Http
from fabric_sdk.errors import CLASS_OF_CODE

from runner import SDK


class Gateway:
    """`answers` holds functions of the request, used in turn; the last one is kept."""

    def __init__(self, port=0):
        self.requests, self.answers, self.connections = [], [], set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                outer.connections.add(self.client_address)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
                outer.requests.append(request)
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer = answer(request) if callable(answer) else answer
                if answer is None:  # a dropped connection
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, body = answer
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def gateway(monkeypatch):
    made = Gateway()
    monkeypatch.setenv("FABRIC_URL", made.url)
    monkeypatch.setenv("FABRIC_TOKEN", "secret")
    monkeypatch.delenv("FABRIC_APP_VERSION", raising=False)
    yield made
    made.server.shutdown()
    made.server.server_close()


def done(result):
    return (200, {}, {"id": "inv_1", "state": "succeeded", "result": result})


f = fabric.Function.from_name("my-app", "f")


def test_a_call_sends_plain_values_as_json(gateway):
    gateway.answers = [done({"x": 1})]
    assert f.remote(1, "a", key=[None]) == {"x": 1}
    request = gateway.requests[0]
    assert request["method"] == "POST" and request["path"] == "/v1/apps/my-app/functions/f/invocations"
    assert json.loads(request["body"]) == {"args": [1, "a"], "kwargs": {"key": [None]}}
    headers = request["headers"]
    assert headers["Content-Type"] == "application/json" and headers["Fabric-Body"] == "call"
    assert headers["Authorization"] == "Bearer secret" and headers["Fabric-Accept"] == "pickle, redirect"
    assert re.fullmatch(r"3\.\d+", headers["Fabric-Python"]) and headers["Prefer"] == "wait=60"
    assert len(headers["Idempotency-Key"]) == 36


def test_other_values_travel_as_pickles(gateway):
    gateway.answers = [(200, {"Content-Type": "application/vnd.fabric.pickle"}, pickle.dumps({1, 2}))]
    assert f.remote((1, 2), key={3}) == {1, 2}
    request = gateway.requests[0]
    assert (
        request["headers"]["Content-Type"] == "application/vnd.fabric.pickle"
        and "Fabric-Body" not in request["headers"]
    )
    assert pickle.loads(request["body"]) == (((1, 2),), {"key": {3}})


def test_what_cannot_be_pickled_is_refused_before_anything_is_sent(gateway):
    with pytest.raises(fabric.InvalidError, match="neither JSON nor picklable") as caught:
        f.remote(threading.Lock())
    assert caught.value.code == "input_unserializable" and gateway.requests == []


def test_a_long_call_is_awaited_in_several_requests(gateway):
    waiting = (202, {"Location": "/v1/invocations/inv_9"}, {"id": "inv_9", "state": "running", "reason": "busy"})
    gateway.answers = [waiting, waiting, done(5)]
    assert f.remote() == 5
    assert [r["path"] for r in gateway.requests[1:]] == ["/v1/invocations/inv_9/result"] * 2
    assert len(gateway.connections) == 1  # kept alive


def test_spawn_get_status_cancel(gateway):
    gateway.answers = [(202, {}, {"id": "inv_2", "state": "queued", "reason": "starting a container"})]
    call = f.spawn(1)
    assert call.id == "inv_2" and gateway.requests[0]["headers"]["Prefer"] == "respond-async"
    assert call.status()["state"] == "queued"
    with pytest.raises(fabric.WaitTimeoutError, match="starting a container"):
        call.get(timeout=0)
    with pytest.raises(TimeoutError):
        fabric.Invocation.from_id("inv_2").get(timeout=0.01)
    gateway.answers = [(409, {}, {"error": {"code": "invocation_ended", "message": "it has ended"}})]
    call.cancel()
    assert gateway.requests[-1]["path"] == "/v1/invocations/inv_2/cancel"


def failed(code, **details):
    error = {"code": code, "message": "it failed", "retryable": False, "fault": "user", "details": details}
    return (500, {}, {"error": error, "id": "inv_3"})


def test_the_original_exception_is_raised_with_the_remote_traceback(gateway):
    gateway.answers = [
        failed("exception", type="KeyError", traceback="File x, in f"),
        (200, {}, pickle.dumps(KeyError("k"))),
    ]
    with pytest.raises(KeyError) as caught:
        f.remote()
    assert isinstance(caught.value.__cause__, fabric.RemoteTraceback) and "in f" in str(caught.value.__cause__)
    assert gateway.requests[1]["path"] == "/v1/invocations/inv_3/exception"


@pytest.mark.parametrize(
    "answer", [(404, {}, {"error": {"code": "invocation_not_found"}}), (200, {}, b"\x80\x04cno\nsuch\n.")]
)
def test_an_exception_that_cannot_be_brought_is_a_remote_error(gateway, answer):
    gateway.answers = [failed("exception", type="user.Odd", traceback="File x, in f"), answer]
    with pytest.raises(fabric.RemoteError) as caught:
        f.remote()
    assert (
        caught.value.type == "user.Odd"
        and caught.value.traceback == "File x, in f"
        and caught.value.code == "exception"
    )


@pytest.mark.parametrize(
    "code, kind",
    [
        ("timed_out", TimeoutError),
        ("out_of_memory", MemoryError),
        ("cancelled", fabric.CancelledError),
        ("unauthorized", fabric.AuthError),
        ("app_not_found", fabric.NotFoundError),
        ("node_lost", fabric.PlatformError),
        ("from_the_future", fabric.FabricError),
    ],
)
def test_codes_become_exceptions(gateway, code, kind):
    gateway.answers = [failed(code)]
    with pytest.raises(kind) as caught:
        f.remote()
    assert caught.value.code == code and pickle.loads(pickle.dumps(caught.value)).code == code


def test_every_code_of_the_table_has_a_class():
    table = (
        (Path(__file__).parents[2] / "core" / "errors.ts")
        .read_text()
        .partition("ERRORS = {")[2]
        .partition("} as const")[0]
    )
    codes = set(re.findall(r"^  ([a-z_]+):", table, re.MULTILINE))
    assert len(codes) > 40 and codes == set(CLASS_OF_CODE)


def test_dropped_connections_and_503_are_repeated_with_the_same_key(gateway):
    unavailable = (503, {}, {"error": {"code": "redis_unavailable", "message": "down", "retryable": True}})
    gateway.answers = [None, unavailable, done(1)]
    assert f.remote() == 1
    assert len(gateway.requests) == 3 and len({r["headers"]["Idempotency-Key"] for r in gateway.requests}) == 1


def turned_away(seconds="1", **headers):
    told = {"error": {"code": "queue_full", "message": "full", "retryable": True, "fault": "user"}}
    return 429, {"Retry-After": seconds, **headers}, told


def test_who_is_turned_away_comes_back_when_told_to(gateway):
    pauses = []
    http = Http(Target(gateway.url, "t"), pause=pauses.append)
    gateway.answers = [turned_away("3"), done(1)]
    assert http.request("POST", "/f/a/f").status == 200
    assert len(pauses) == 1 and 3 <= pauses[0] <= 3.6
    gateway.answers = [turned_away("61")]
    assert http.request("POST", "/f/a/f").status == 429 and len(pauses) == 1
    gateway.answers = [turned_away(**{"Fabric-Invocation": "inv_1"})]
    assert http.request("POST", "/f/a/f").status == 429 and len(pauses) == 1


def test_a_quota_is_waited_for_and_then_told(gateway):
    told = {"code": "quota_exceeded", "message": "full", "retryable": True, "fault": "user"}
    told["details"] = {"limit": "rate"}
    gateway.answers = [(429, {"Retry-After": "0"}, {"error": told}), done(1)]
    assert f.remote() == 1
    gateway.answers = [(429, {"Retry-After": "3600"}, {"error": told})]
    with pytest.raises(fabric.QuotaExceededError, match="full") as caught:
        f.remote()
    assert caught.value.code == "quota_exceeded" and caught.value.details["limit"] == "rate"


def test_a_call_outlasts_its_gateway_however_long_it_had_waited(monkeypatch):
    monkeypatch.setattr(http_module, "REFUSED_PATIENCE_S", 0.0)
    now, turns = [1000.0], []
    monkeypatch.setattr(http_module.time, "monotonic", lambda: now[0])
    first, second = Gateway(), None

    def dies(request):
        now[0] += 50

    def pause(seconds):
        nonlocal second
        now[0] += seconds
        turns.append(seconds)
        if len(turns) == 1:
            first.server.shutdown()
            first.server.server_close()
        elif len(turns) == 3:
            second = Gateway(first.server.server_port)
            second.answers = [(503, {}, {"error": {"message": "starting"}}), done(7)]

    first.answers = [dies]
    http = Http(Target(first.url, "t"), pause=pause)
    assert http.request("POST", "/f/a/f", headers={"Idempotency-Key": "k"}).status == 200
    assert [len(first.requests), len(second.requests), len(turns)] == [1, 2, 4]
    second.server.shutdown()
    second.server.server_close()


def test_patience_ends():
    clock = [0.0]
    http = Http(Target("http://127.0.0.1:1", "t"), pause=lambda s: clock.append(s))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_module, "REFUSED_PATIENCE_S", 0.0)
        with pytest.raises(fabric.UnreachableError, match="fabric up") as caught:
            http.request("GET", "/")
    assert caught.value.code == "fabric_unreachable" and caught.value.retryable


def test_versions_are_passed_on(gateway, monkeypatch):
    gateway.answers = [done(1)]
    app = fabric.App("a")

    @app.function()
    def g(x):
        return x

    g.remote(1)
    monkeypatch.setenv("FABRIC_APP_VERSION", "run_1")
    g.remote(1)
    fabric.Function.from_name("a", "g", version="3").remote(1)
    assert [r["path"].partition("?")[2] for r in gateway.requests] == ["", "version=run_1", "version=3"]
    assert g(2) == g.local(2) == 2


def test_aio(gateway):
    gateway.answers = [done(1)]

    async def both():
        return await asyncio.gather(f.remote.aio(1), f.remote.aio(2))

    assert asyncio.run(both()) == [1, 1]


def test_many_threads_share_the_connections(gateway):
    gateway.answers = [done(1)]
    results = []
    threads = [threading.Thread(target=lambda: results.extend(f.remote(i) for i in range(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 40 and len(gateway.connections) <= 8


def test_config_file_and_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("FABRIC_URL", raising=False)
    monkeypatch.delenv("FABRIC_TOKEN", raising=False)
    file = tmp_path / "config.json"
    monkeypatch.setenv("FABRIC_CONFIG", str(file))
    with pytest.raises(fabric.UnreachableError, match="fabric up"):
        target()
    file.write_text('{"url": "http://h:1", "token": "t"}')
    assert target() == Target("http://h:1", "t") and "t'" not in repr(target()).replace("'***'", "")
    monkeypatch.setenv("FABRIC_URL", "http://other:2")
    assert target() == Target("http://other:2", "t")


def test_checkpoints_are_downloaded_and_checked(gateway, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def listed(acc, step):
        return {"step": step, "metrics": {"acc": acc}, "files": [
            {"path": "sub/m", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}]}  # fmt: skip

    def answer(request):
        if request["path"].endswith("/s"):
            return (200, {}, {"checkpoints": [listed(0.5, 1), listed(0.9, 2), listed(0.7, 3)]})
        if request["path"].endswith("/s/latest"):
            return (200, {}, listed(0.7, 3))
        if request["path"].endswith("/s/9"):
            return (404, {}, {"error": {"code": "checkpoint_not_found", "message": "no checkpoint s:9"}})
        return (200, {}, b"abc" if "/2/" in request["path"] or "/3/" in request["path"] else b"abX")

    gateway.answers = [answer]
    best = fabric.Checkpoint.load("s", best="acc")
    assert best.step == 2 and (Path(best.path) / "sub" / "m").read_bytes() == b"abc"
    assert gateway.requests[-1]["path"] == "/v1/checkpoints/s/2/files/sub/m"
    assert fabric.Checkpoint.load("s").step == 3
    with pytest.raises(fabric.FabricError, match="damaged"):
        fabric.Checkpoint.load("s", best="acc", order="min")
    with pytest.raises(fabric.NotFoundError) as caught:
        fabric.Checkpoint.load("s", 9)
    assert caught.value.code == "checkpoint_not_found"


def test_a_downloaded_checkpoint_goes_with_its_process(gateway, tmp_path):
    latest = {"step": 1, "metrics": {}, "files": [
        {"path": "m", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}]}  # fmt: skip
    gateway.answers = [lambda request: (200, {}, latest if request["path"].endswith("/s/latest") else b"abc")]
    script = (
        "import fabric_sdk as f, os; c = f.Checkpoint.load('s')\n"
        "if os.fork() == 0: raise SystemExit\n"
        "os.wait(); print(open(c.path + '/m').read(), c.path)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": SDK, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout.startswith(f"abc {tmp_path}"), ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_tag_is_loaded_by_its_name(gateway, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gateway.answers = [lambda request: (200, {}, {"step": 2, "metrics": {}, "files": []})]
    assert fabric.Checkpoint.load("s:production").step == 2
    assert gateway.requests[-1]["path"] == "/v1/checkpoints/s/production"
    for wrong in ("s:a/b", "s:", "s:a:b"):
        with pytest.raises(fabric.InvalidError, match="SERIES:TAG"):
            fabric.Checkpoint.load(wrong)
    with pytest.raises(fabric.InvalidError, match="names a checkpoint already"):
        fabric.Checkpoint.load("s:production", 3)


def test_metadata_lies_beside_the_files_until_they_are_saved(tmp_path):
    import pickle

    one = fabric.Checkpoint.from_directory(tmp_path)
    assert one.get_metadata() == {}
    one.set_metadata({"a": 1})
    one.update_metadata({"b": [2]})
    assert one.get_metadata() == {"a": 1, "b": [2]}
    copied = one.to_directory(tmp_path / "copy")
    assert fabric.Checkpoint(copied).get_metadata() == {"a": 1, "b": [2]}
    temporary = one.to_directory()
    assert Path(temporary, ".metadata.json").exists()
    shutil.rmtree(temporary)
    again = pickle.loads(pickle.dumps(one))
    assert again == one and again.path == str(tmp_path)
    saved = fabric.Checkpoint(tmp_path, "s", 3)
    assert saved != one and repr(saved) == "Checkpoint(s:3)" and saved in {pickle.loads(pickle.dumps(saved))}
    with pytest.raises(fabric.InvalidError, match="saved already"):
        saved.set_metadata({})
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(fabric.InvalidError, match="only a checkpoint that"):
        print(_gone(tmp_path).path)


def _gone(tmp_path):
    import pickle

    folder = tmp_path / "gone"
    folder.mkdir()
    pickled = pickle.dumps(fabric.Checkpoint(folder))
    folder.rmdir()
    return pickle.loads(pickled)


def test_train_outside_a_function_says_so():
    with pytest.raises(fabric.InvalidError, match=r"train.report\(\) works inside a function"):
        fabric.train.report({"a": 1})


def test_ctrl_c_in_a_call_says_in_one_line_that_it_goes_on(gateway):
    asked = threading.Event()

    def pending(request):
        if request["method"] == "GET":
            asked.set()
            threading.Event().wait(5)
        return (202, {}, {"id": "inv_1", "state": "running"})

    gateway.answers = [pending]
    script = subprocess.Popen(
        [sys.executable, "-c", "import fabric_sdk as f; f.Function.from_name('a', 'f').remote()"],
        env={**os.environ, "PYTHONPATH": SDK},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.wait(30)
    script.send_signal(signal.SIGINT)
    assert script.communicate(timeout=30)[1] == (
        "interrupted: inv_1 goes on; `fabric invocation cancel inv_1` ends it\n"
    )
    assert script.returncode == -signal.SIGINT
