"""Maps from Python, against a gateway of threads: what is sent, and what becomes of what comes back."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import fabric_sdk as fabric
import pytest
from fabric_sdk import errors

from runner import SDK

f = fabric.Function.from_name("app", "f")


class Gateway:
    """Answers every input but the `held` ones with what `answer` makes of it; `breaks` connections are cut."""

    def __init__(self):
        self.inputs, self.blocks, self.posts = [], [], []
        self.sealed = self.cancelled = False
        self.answer = lambda index, args: {"result": args}
        self.breaks = self.refuses = self.full = self.readers = 0
        self.held = set()
        self.state = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, told = outer.post(urlsplit(self.path), self.headers, body)
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.close_connection = True
                outer.results(self, int(parse_qs(urlsplit(self.path).query)["after"][0]))

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def post(self, url, headers, body):
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
        with self.state:
            self.posts.append({"path": url.path, "query": query, "headers": dict(headers), "body": body})
            self.state.notify_all()
            if url.path.endswith("/cancel"):
                self.cancelled = True
                ended = {"code": "cancelled", "message": "The invocation was cancelled."}
                left = [i for i in range(len(self.inputs)) if i in self.held]
                self.blocks.append([{"index": i, "error": ended} for i in left])
                return 200, {"id": "inv_m", "state": "cancelled"}
            if self.refuses > 0 and url.path.endswith("/inputs"):
                self.refuses -= 1
                return 409, {"error": {"code": "map_sealed", "message": "no more", "fault": "user"}}
            if self.full > 0 and url.path.endswith("/inputs"):
                self.full -= 1
                return 429, {"error": {"code": "queue_full", "message": "full", "retryable": True, "fault": "user"}}
            lines = [json.loads(line) for line in body.split(b"\n") if line]
            first = int(query.get("first", 0))
            if first == len(self.inputs):
                self.inputs += lines
                block = [
                    {"index": first + i, **self.answer(first + i, line)}
                    for i, line in enumerate(lines)
                    if first + i not in self.held
                ]
                if block:
                    self.blocks.append(block)
            self.sealed = query["more"] == "false"
            return 200, {"id": "inv_m", "inputs": first + len(lines)}

    def ended(self):
        return self.cancelled or (self.sealed and sum(map(len, self.blocks)) >= len(self.inputs))

    def results(self, handler, position):
        handler.send_response(200)
        handler.end_headers()
        with self.state:
            self.readers += 1
            self.state.notify_all()
        while True:
            with self.state:
                self.state.wait_for(lambda at=position: len(self.blocks) > at or self.ended(), 5)
                blocks = self.blocks[position:]
                ended = self.ended() and not blocks
            for block in blocks:
                told = [json.dumps(line).encode() + b"\n" for line in block]
                if self.breaks > 0 and len(told) > 1:
                    self.breaks -= 1
                    handler.wfile.write(b"".join(told[: len(told) // 2]) + told[-1][:5])
                    return
                position += 1
                handler.wfile.write(b"\n" + b"".join(told) + b'{"cursor":%d}\n' % position)
            if ended:
                state = "cancelled" if self.cancelled else "succeeded"
                handler.wfile.write(json.dumps({"ended": True, "state": state}).encode() + b"\n")
                return

    def wait_for(self, what):
        with self.state:
            assert self.state.wait_for(what, 5)


@pytest.fixture
def gateway(monkeypatch):
    made = Gateway()
    monkeypatch.setenv("FABRIC_URL", f"http://127.0.0.1:{made.server.server_port}")
    monkeypatch.setenv("FABRIC_TOKEN", "secret")
    monkeypatch.delenv("FABRIC_APP_VERSION", raising=False)
    yield made
    made.server.shutdown()
    made.server.server_close()


def error(message, exception=None):
    told = {"error": {"code": "exception", "message": message, "fault": "user", "details": {"type": "ValueError"}}}
    if exception is not None:
        told["exception"] = base64.b64encode(pickle.dumps(exception)).decode()
    return told


def test_inputs_travel_in_pages_and_results_come_in_order(gateway):
    assert list(f.map(range(2500))) == [[i] for i in range(2500)]
    first, *others = gateway.posts
    assert first["path"] == "/v1/apps/app/functions/f/map" and first["headers"]["Prefer"] == "respond-async"
    assert first["headers"]["Fabric-Accept"] == "pickle, redirect" and first["headers"]["Fabric-Body"] == "call"
    assert all(post["path"] == "/v1/invocations/inv_m/inputs" for post in others)
    assert gateway.posts[-1]["query"]["more"] == "false" and not gateway.cancelled
    assert max(post["body"].count(b"\n") + 1 for post in gateway.posts) <= 1000


SCRIPT = "import fabric_sdk as fabric; print(list(fabric.Function.from_name('app', 'f').map(range(3))))"


def test_ctrl_c_says_in_one_line_what_is_cancelled(gateway):
    gateway.held = {0, 1, 2}
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": SDK},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    gateway.wait_for(lambda: gateway.readers)
    script.send_signal(signal.SIGINT)
    told = script.communicate(timeout=30)
    assert told == ("", "interrupted: the map inv_m is cancelled\n")
    assert script.returncode == -signal.SIGINT  # which shells call 130
    assert gateway.cancelled


def test_what_came_early_waits_for_its_turn_or_does_not(gateway):
    gateway.held = {0}

    def late():
        yield from range(3)
        gateway.wait_for(lambda: len(gateway.inputs) == 3)
        with gateway.state:
            gateway.blocks.append([{"index": 0, "result": "late"}])
        yield 3

    assert list(f.map(late())) == ["late", [1], [2], [3]]
    gateway.__dict__.update(inputs=[], blocks=[], sealed=False)
    assert sorted(map(str, f.map(late(), order_outputs=False))) == ["[1]", "[2]", "[3]", "late"]


def test_arguments_of_several_iterables_named_ones_and_pickles(gateway):
    list(f.map([1, 2], ["a", "b", "c"]))
    list(f.starmap([(1, 2)], kwargs={"k": 3}))
    assert gateway.inputs[:2] == [[1, "a"], [2, "b"]] and len(gateway.inputs) == 2
    gateway.__dict__.update(inputs=[], blocks=[], sealed=False)
    list(f.starmap([(1, 2), ({3}, 4)], kwargs={"k": 3}))
    assert gateway.inputs[0] == {"args": [1, 2], "kwargs": {"k": 3}}
    assert pickle.loads(base64.b64decode(gateway.inputs[1]["pickle"])) == (({3}, 4), {"k": 3})


def test_the_first_exception_is_raised_after_the_results_before_it_and_cancels_the_map(gateway):
    gateway.answer = lambda i, args: error("no 2", ValueError("no 2")) if i == 2 else {"result": i}
    got = []
    with pytest.raises(ValueError, match="no 2"):
        for value in f.map(itertools.count()):
            got.append(value)
    assert got == [0, 1]
    gateway.wait_for(lambda: gateway.cancelled)


def test_exceptions_are_results_where_asked_for(gateway):
    gateway.answer = lambda i, args: error(f"no {i}", ValueError(i)) if i % 2 else {"result": i}
    zero, one, two, three = f.map(range(4), return_exceptions=True)
    assert (zero, two) == (0, 2) and isinstance(one, ValueError) and three.args == (3,)
    assert not gateway.cancelled
    gateway.__dict__.update(inputs=[], blocks=[], sealed=False)
    f.for_each(range(4), ignore_exceptions=True)
    gateway.__dict__.update(inputs=[], blocks=[], sealed=False)
    with pytest.raises(ValueError):
        f.for_each(range(4))


def test_pickled_results_are_opened(gateway):
    gateway.answer = lambda i, args: {"pickle": base64.b64encode(pickle.dumps({i})).decode()}
    assert list(f.map(range(2))) == [{0}, {1}]


@pytest.mark.parametrize("how", ["plain", "exceptions", "aio"])
def test_what_the_iterable_raises_reaches_the_caller_and_cancels_the_map(gateway, how):
    gateway.held = {1}
    got = []
    came = threading.Event()

    def broken():
        yield 0
        yield 1
        assert came.wait(5)
        raise KeyError("mine")

    def take(value):
        got.append(value)
        came.set()

    async def collect():
        async for value in f.map.aio(broken()):
            take(value)

    with pytest.raises(KeyError, match="mine"):
        if how == "aio":
            asyncio.run(collect())
        else:
            for value in f.map(broken(), return_exceptions=how == "exceptions"):
                take(value)
    assert got == [[0]]
    gateway.wait_for(lambda: gateway.cancelled)


@pytest.mark.parametrize("kind", [KeyError, FileNotFoundError, ConnectionError])
def test_an_iterable_that_raises_before_its_first_input_makes_no_map(gateway, kind):
    def broken():
        raise kind("mine")
        yield

    began = time.monotonic()
    with pytest.raises(kind, match="mine") as raised:
        list(f.map(broken()))
    assert time.monotonic() - began < 5  # not taken for a lost connection
    assert raised.value.__context__ is None
    assert gateway.posts == []


def test_a_refused_page_ends_the_map_although_the_next_input_never_comes(gateway):
    gateway.refuses = 1
    never = threading.Event()

    def waits():
        yield 0
        gateway.wait_for(lambda: len(gateway.inputs) == 1)
        yield 1
        never.wait(10)

    try:
        with pytest.raises(fabric.FabricError, match="no more"):
            list(f.map(waits()))
    finally:
        never.set()
    gateway.wait_for(lambda: gateway.cancelled)


def test_a_full_map_holds_its_sender_up_until_it_is_left(gateway, monkeypatch):
    monkeypatch.setattr("fabric_sdk._client.maps.TURNED_AWAY_PATIENCE_S", 0.0)
    gateway.full = 2
    assert list(f.map(range(2500))) == [[i] for i in range(2500)] and gateway.full == 0
    gateway.full, gateway.inputs = 1_000_000, []
    for _value in f.map(range(2500)):
        gateway.wait_for(lambda: gateway.full < 1_000_000)
        break
    gateway.wait_for(lambda: gateway.cancelled)


def test_leaving_early_cancels_what_was_started(gateway):
    for value in f.map(itertools.count()):
        assert value == [0]
        break
    gateway.wait_for(lambda: gateway.cancelled)
    sent = len(gateway.inputs)
    time.sleep(0.1)  # nothing is sent any more
    assert len(gateway.inputs) == sent


def test_a_lost_connection_goes_on_without_duplicates(gateway):
    gateway.breaks = 5
    assert list(f.map(range(3000))) == [[i] for i in range(3000)] and gateway.breaks == 0
    gateway.breaks = 2
    again = fabric.Invocation.from_id("inv_m").results(order_outputs=False)
    assert sorted(again) == [[i] for i in range(3000)]


def test_results_read_elsewhere_cancel_nothing(gateway):
    call = f.spawn_map(range(5))
    assert call.id == "inv_m" and gateway.sealed
    for value in fabric.Invocation.from_id(call.id).results():
        assert value == [0]
        break
    assert not gateway.cancelled


def test_async_results_come_as_they_are_there(gateway):
    goes_on = threading.Event()

    def lockstep():
        yield 0
        assert goes_on.wait(5)
        yield 1

    async def collect():
        got = []
        async for value in f.map.aio(lockstep()):
            got.append(value)
            goes_on.set()
        return got

    assert asyncio.run(collect()) == [[0], [1]]

    async def others():
        await f.for_each.aio(range(3))
        return (await f.spawn_map.aio(range(3))).id

    gateway.__dict__.update(inputs=[], blocks=[], sealed=False)
    assert asyncio.run(others()) == "inv_m"


def test_an_async_reader_that_is_cancelled_leaves_the_map(gateway):
    gateway.held = {0}

    async def main():
        async def read():
            async for _value in f.map.aio(itertools.chain([0], iter(threading.Event().wait, True))):
                pass

        reading = asyncio.ensure_future(read())
        await asyncio.to_thread(gateway.wait_for, lambda: len(gateway.inputs) == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(main())
    gateway.wait_for(lambda: gateway.cancelled)


def test_an_input_that_does_not_travel_is_named_before_it_is_sent(gateway):
    with pytest.raises(errors.InvalidError, match="at most"):
        list(f.map(["x" * 1_000_000]))
    with pytest.raises(errors.InvalidError, match="at least one iterable"):
        f.map()
        list(f.map())
