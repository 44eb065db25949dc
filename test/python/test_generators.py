"""Reading generators: values as they come, lost connections, restarts, early ends."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle

import fabric_sdk as fabric
import pytest
from fabric_sdk.errors import InvalidError
from test_client import Gateway

ID = "inv_1"
END = {"type": "end", "id": ID, "state": "succeeded", "result": "whole"}


def chunk(name, value=None):
    return {"type": "chunk", "id": name, "value": name if value is None else value}


def lines(*events):
    body = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    return (200, {"Fabric-Invocation": ID, "Content-Type": "application/x-ndjson"}, body)


@pytest.fixture
def gateway(monkeypatch):
    one = Gateway()
    monkeypatch.setenv("FABRIC_URL", one.url)
    monkeypatch.setenv("FABRIC_TOKEN", "t")
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def f():
    return fabric.Function.from_name("a", "f")


def sent(gateway):
    return [(r["method"], r["path"], r["headers"].get("Last-Event-ID")) for r in gateway.requests]


CALL = ("POST", "/v1/apps/a/functions/f/invocations", None)
CANCEL = ("POST", f"/v1/invocations/{ID}/cancel", None)


def events(last):
    return ("GET", f"/v1/invocations/{ID}/events", last)


def test_values_come_in_order_and_the_return_value_at_the_end(gateway, f):
    gateway.answers = [lines({"type": "state", "state": "queued"}, chunk("1-0"), chunk("1-1", [1]), END)]

    def outer():
        return (yield from f.remote_gen(3, key="v"))

    generator = outer()
    assert gateway.requests == []
    assert [next(generator), next(generator)] == ["1-0", [1]]
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "whole" and sent(gateway) == [CALL]
    headers = gateway.requests[0]["headers"]
    assert headers["Accept"] == "application/x-ndjson" and headers["Fabric-Call"] == "remote_gen"
    assert json.loads(gateway.requests[0]["body"]) == {"args": [3], "kwargs": {"key": "v"}}


def test_pickles_are_opened(gateway, f):
    body = base64.b64encode(pickle.dumps({1, 2})).decode()
    gateway.answers = [lines({"type": "chunk", "id": "1-0", "pickle": body}, {**END, "result": None})]
    assert list(f.remote_gen()) == [{1, 2}]


def test_a_broken_connection_is_taken_up_where_it_broke(gateway, f):
    gateway.answers = [
        None,
        lines(chunk("1-0"), chunk("1-1")),
        (503, {}, {"error": {"code": "redis_unavailable", "message": "m"}}),
        lines(chunk("1-2")),
        lines(END),
    ]
    assert list(f.remote_gen()) == ["1-0", "1-1", "1-2"]
    assert sent(gateway) == [CALL, CALL, events("1-1"), events("1-1"), events("1-2")]
    keys = {request["headers"]["Idempotency-Key"] for request in gateway.requests[:2]}
    assert len(keys) == 1


def test_a_failure_is_raised_after_the_values_as_the_original_exception(gateway, f):
    error = {"code": "exception", "message": "ValueError: no", "details": {"type": "ValueError", "traceback": "tb"}}
    pickled = (200, {}, pickle.dumps(ValueError("no")))
    gateway.answers = [lines(chunk("1-0"), {"type": "end", "id": ID, "state": "failed", "error": error}), pickled]
    generator = f.remote_gen()
    assert next(generator) == "1-0"
    with pytest.raises(ValueError, match="no") as raised:
        next(generator)
    assert isinstance(raised.value.__cause__, fabric.RemoteTraceback)
    assert CANCEL not in sent(gateway)


def test_a_restart_is_raised_unless_the_reader_wants_to_go_on(gateway, f):
    again = lines(
        chunk("1-0"), chunk("1-1"), {"type": "restart", "generation": 2}, chunk("2-0"), chunk("2-1"), chunk("2-2"), END
    )
    cancelled = (200, {}, {"id": ID, "state": "cancelling"})
    gateway.answers = [again, cancelled]
    values = []
    with pytest.raises(fabric.GeneratorRestarted, match="after 2 values"):
        for value in f.remote_gen():
            values.append(value)
    assert values == ["1-0", "1-1"] and sent(gateway) == [CALL, CANCEL]
    gateway.answers = [again]
    assert list(f.remote_gen.on_restart("continue")()) == ["1-0", "1-1", "2-2"]
    with pytest.raises(InvalidError, match='"raise" or "continue"'):
        f.remote_gen.on_restart("again")


def test_a_restart_before_the_first_value_is_nobodys_concern(gateway, f):
    gateway.answers = [lines({"type": "restart", "generation": 2}, chunk("2-0"), END)]
    assert list(f.remote_gen()) == ["2-0"]


def test_leaving_early_cancels_and_not_beginning_does_nothing(gateway, f):
    gateway.answers = [lines(chunk("1-0"), chunk("1-1")), (200, {}, {"id": ID, "state": "cancelling"})]
    f.remote_gen().close()
    assert gateway.requests == []
    for _value in f.remote_gen():
        break
    assert sent(gateway) == [CALL, CANCEL]


def test_get_gen_reads_a_spawned_generator_and_cancels_nothing(gateway):
    gateway.answers = [lines(chunk("1-0"), chunk("1-1"), END)]
    assert list(fabric.Invocation.from_id(ID).get_gen()) == ["1-0", "1-1"]
    for _value in fabric.Invocation.from_id(ID).get_gen():
        break
    assert sent(gateway) == [events(None)] * 2


def test_async_reading(gateway, f):
    async def read(n):
        values = []
        async for value in f.remote_gen.aio():
            values.append(value)
            if len(values) == n:
                break
        return values

    gateway.answers = [lines(chunk("1-0"), chunk("1-1"), END)]
    assert asyncio.run(read(9)) == ["1-0", "1-1"]
    gateway.requests.clear()
    gateway.answers = [lines(chunk("1-0"), chunk("1-1")), (200, {}, {"id": ID, "state": "cancelling"})]
    assert asyncio.run(read(1)) == ["1-0"]
    assert sent(gateway) == [CALL, CANCEL]


def test_each_kind_of_function_names_the_right_call():
    app = fabric.App("a")

    @app.function()
    def many(n):
        yield from range(n)

    @app.function()
    async def amany(n):
        yield n

    @app.function()
    def one():
        return 1

    assert (many.is_generator, many.is_async) == (True, False)
    assert (amany.is_generator, amany.is_async) == (True, True)
    assert not one.is_generator
    assert list(many.local(2)) == [0, 1] and list(many(2)) == [0, 1]
    with pytest.raises(InvalidError, match="remote_gen"):
        many.remote(1)
    with pytest.raises(InvalidError, match=r"one\.remote\("):
        one.remote_gen()
    assert many.spec({}, "i")["is_generator"]


def test_no_gateway_is_said_soon(f, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FABRIC_TOKEN", "t")
    with pytest.raises(fabric.UnreachableError, match="fabric up"):
        next(f.remote_gen())
