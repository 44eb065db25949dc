"""Calling functions from inside a container: what the runner is asked, and what becomes of its answers."""

from __future__ import annotations

import json
import pickle
import time

import pytest

SOURCE = """
import asyncio, threading, time
import fabric_sdk as fabric
g = fabric.Function.from_name('app', 'g')
def f(*args): return g.remote(*args)
"""


def ended(r, request, value, **more):
    told = {"id": "inv_child", "state": "succeeded", "encoding": "json", **more}
    r.reply(request, told, body=json.dumps(value).encode())


def asks(r):
    """The next request's operation and body, streamed or not."""
    header, body = r.expect("request")
    operation = header["operation"]
    if "stream" in operation:
        body = r.receive_stream(operation["stream"])
    return header, operation, body


def test_a_call_names_what_it_wants_and_gets_the_result(runner):
    r = runner(SOURCE)
    name = r.input(1, "two")
    request, operation, body = asks(r)
    assert abs(operation.pop("at") / 1000 - time.time()) < 60
    assert (request["id"], request["generation"]) == (name["id"], 1)
    assert operation == {
        "op": "call",
        "app": "app",
        "function": "g",
        "encoding": "json",
        "accept_pickle": True,
        "awaited": True,
        "wait": True,
    }
    assert json.loads(body) == {"args": [1, "two"], "kwargs": {}}
    ended(r, request, {"a": [1.5]})
    assert json.loads(r.outcome()[1]) == {"a": [1.5]}


def test_what_is_not_plain_travels_as_a_pickle_both_ways(runner):
    r = runner("import fabric_sdk as fabric\ndef f(): return fabric.Function.from_name('a', 'g').remote((1,))")
    r.input(accept_pickle=True)
    request, operation, body = asks(r)
    assert operation["encoding"] == "pickle" and pickle.loads(body) == (((1,),), {})
    r.reply(request, {"id": "inv_c", "state": "succeeded", "encoding": "pickle"}, body=pickle.dumps({1, 2}))
    assert pickle.loads(r.outcome()[1]) == {1, 2}


def test_an_app_without_a_name_calls_its_own_functions(runner):
    r = runner(
        "import fabric_sdk as fabric\napp = fabric.App()\n"
        "@app.function()\ndef g(): pass\n"
        "@app.function()\ndef f(): return g.spawn().id"
    )
    r.input()
    request, operation, _ = asks(r)
    assert "app" not in operation and (operation["function"], operation["awaited"]) == ("g", False)
    r.reply(request, {"id": "inv_child", "state": "queued"})
    assert r.outcome()[1] == b'"inv_child"'


def test_the_exception_itself_is_raised_with_the_remote_traceback(runner):
    r = runner(
        SOURCE + "def f():\n  try: g.remote()\n"
        "  except LookupError as error: return [type(error).__name__, str(error), str(error.__cause__)]"
    )
    r.input()
    error = {"code": "exception", "message": "KeyError: 'x'", "details": {"type": "KeyError", "traceback": "in g"}}
    value = {"id": "inv_c", "state": "failed", "error": error}
    r.reply(asks(r)[0], value, body=pickle.dumps(KeyError("x")))
    assert json.loads(r.outcome()[1]) == ["KeyError", "'x'", "\nin g"]
    r.input()
    r.reply(asks(r)[0], value, body=b"no pickle")
    assert r.outcome()[0]["error"]["type"] == "fabric_sdk.errors.RemoteError"


def test_a_refusal_is_raised_with_its_code_and_details(runner):
    r = runner(
        SOURCE + "def f():\n  try: g.remote()\n"
        "  except fabric.NotFoundError as error: return [error.code, error.details, error.retryable]"
    )
    r.input()
    error = {"code": "function_not_found", "message": "no", "retryable": False, "fault": "user", "details": {"a": 1}}
    r.reply(asks(r)[0], error=error)
    assert json.loads(r.outcome()[1]) == ["function_not_found", {"a": 1}, False]


def test_names_and_ids_that_no_frame_takes_are_refused_here(runner):
    r = runner(
        "import fabric_sdk as fabric\n"
        "def f(what):\n"
        "  if what == 'id': fabric.Invocation.from_id('x' * 99).get()\n"
        "  fabric.Function.from_name(what, 'g').remote()"
    )
    assert r.failure("x" * 99)[0]["type"] == "fabric_sdk.errors.InvalidError"
    assert r.failure(7)[0]["type"] == "fabric_sdk.errors.InvalidError"
    assert r.failure("id")[0]["type"] == "fabric_sdk.errors.NotFoundError"


def test_values_of_a_class_that_no_frame_takes_are_refused_here(runner):
    r = runner(
        "import fabric_sdk as fabric\nModel = fabric.Cls.from_name('a', 'Model')\n"
        "def f(**values): Model(**values).m.remote()"
    )
    for values in ({"name": "x" * 300_000}, {"x" * 99: 1}):
        r.input(**values)
        assert r.outcome()[0]["error"]["type"] == "fabric_sdk.errors.InvalidError"
    r.input(name="x" * 100)
    assert asks(r)[1]["parameters"] == {"name": "x" * 100}


def test_long_arguments_and_results_are_streams(runner):
    r = runner("import fabric_sdk as fabric\ndef f(n): return len(fabric.Function.from_name('a', 'g').remote('x' * n))")
    r.input(700_000)
    request, operation, body = asks(r)
    assert operation["wait"] is False and len(json.loads(body)["args"][0]) == 700_000
    r.reply(request, {"id": "inv_c", "state": "queued"})
    request, operation, _ = asks(r)
    assert operation == {"op": "outcome", "invocation": "inv_c"}
    ended(r, request, None, stream=2)
    r.send_stream(2, json.dumps("y" * 900_000).encode())
    while (frame := r.expect("result", "stream.credit"))[0]["type"] == "stream.credit":
        pass
    assert frame[1] == b"900000"


def test_get_asks_again_until_it_ends_or_the_time_is_over(runner):
    r = runner(
        "import fabric_sdk as fabric\n"
        "def f(timeout=None):\n"
        "  try: return fabric.Invocation.from_id('inv_c').get(timeout)\n"
        "  except TimeoutError as error: return str(error)"
    )
    r.input()
    r.reply(asks(r)[0], {"id": "inv_c", "state": "running"})
    ended(r, asks(r)[0], 3)
    assert r.outcome()[1] == b"3"
    r.input(0)
    request, operation, _ = asks(r)
    assert operation["wait_ms"] == 0
    r.reply(request, {"id": "inv_c", "state": "queued", "reason": "no cpu"})
    assert "has not ended after 0 s (no cpu)" in r.outcome()[1].decode()


def test_requests_are_sent_again_under_their_number_after_a_reconnection(runner):
    r = runner(SOURCE)
    r.input("x" * 400_000)
    first, _, body = asks(r)
    r.lose()
    r.come_back()
    again, _, same = asks(r)
    assert again["request"] == first["request"] and body == same
    r.reply(again, {"id": "inv_c", "state": "queued"})
    waiting, _, _ = asks(r)
    r.lose()
    r.come_back()
    assert asks(r)[0]["request"] == waiting["request"]
    ended(r, waiting, "done")
    assert r.outcome()[1] == b'"done"'


def test_a_result_whose_stream_breaks_is_asked_for_again(runner):
    r = runner(SOURCE)
    r.input()
    ended(r, asks(r)[0], None, stream=2)
    r.connection.send({"type": "stream.open", "stream": 2, "name": "result"})
    r.connection.send({"type": "stream.cancel", "stream": 2, "reason": "storage"})
    while (frame := r.expect("request", "stream.credit"))[0]["type"] == "stream.credit":
        pass
    assert frame[0]["operation"] == {"op": "outcome", "invocation": "inv_child"}
    ended(r, frame[0], 1)
    assert r.outcome()[1] == b"1"


def test_coroutines_wait_side_by_side_with_few_streams_open(runner):
    count = 40
    r = runner(
        SOURCE + "async def f(n): return await asyncio.gather(*[g.remote.aio(i, 'x' * 300_000) for i in range(n)])",
        is_async=True,
    )
    r.input(count)
    waiting, arriving, most = [], {}, 0
    while len(waiting) < count:
        header, body = r.expect("request", "stream.open", "stream.data", "stream.end")
        if header["type"] == "stream.open":
            r.connection.send({"type": "stream.credit", "stream": header["stream"], "bytes": 1 << 20})
        elif header["type"] == "stream.data":
            arriving[header["stream"]][1] += body
        elif header["type"] == "stream.end":
            request, arguments = arriving.pop(header["stream"])
            r.reply(request, {"id": f"inv_{json.loads(arguments)['args'][0]}", "state": "queued"})
        elif header["operation"]["op"] == "call":
            arriving[header["operation"]["stream"]] = [header, b""]
            most = max(most, len(arriving))
        else:
            waiting.append(header)
    assert 1 < most <= 16
    for request in reversed(waiting):
        ended(r, request, int(request["operation"]["invocation"][4:]))
    assert json.loads(r.outcome()[1]) == list(range(count))


MAP = """
import fabric_sdk as fabric
g = fabric.Function.from_name('app', 'g')
def f(n, order=True): return list(g.map(range(n), order_outputs=order))
"""


def takes(r, name="map", inputs=0):
    """One page of a map's inputs, accepted; the lines."""
    request, operation, body = asks(r)
    assert operation["op"] == name
    lines = [json.loads(line) for line in body.splitlines()]
    r.reply(request, {"id": "inv_map", "inputs": inputs + len(lines)})
    return operation, lines


def tells(r, lines, position, ended=None):
    """Answers the next look for outcomes; what else is asked meanwhile is a page that says that none follow."""
    request, operation, _ = asks(r)
    if operation["op"] == "inputs":
        r.reply(request, {"id": "inv_map", "inputs": operation["first"]})
        request, operation, _ = asks(r)
    assert (operation["op"], operation["invocation"]) == ("results", "inv_map")
    value = {"position": position, **({"ended": ended} if ended else {})}
    r.reply(request, value, body=b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return operation["after"]


def test_a_map_sends_its_inputs_and_brings_results_in_order(runner):
    r = runner(MAP)
    r.input(3)
    operation, lines = takes(r)
    assert lines == [[0], [1], [2]] and operation["awaited"] and operation["app"] == "app"
    assert tells(r, [{"index": 2, "result": "c"}, {"index": 0, "result": "a"}], 1) == 0
    assert tells(r, [{"index": 1, "result": "b"}], 2) == 1
    assert tells(r, [], 2, {"state": "succeeded", "inputs": 3, "failed": 0}) == 2
    assert json.loads(r.outcome()[1]) == ["a", "b", "c"]


def test_a_full_map_asks_for_room_again(runner):
    r = runner(MAP.replace("range(n)", "([i] for i in range(n))"))
    r.input(2_000)
    sent = len(takes(r)[1])
    full = {"code": "queue_full", "message": "full", "fault": "user", "retryable": True}
    refused: list[object] = []
    while len(refused) < 2:
        request, operation, body = asks(r)
        if operation["op"] == "inputs":
            refused.append((operation, body))
            r.reply(request, error=full)
    assert refused[0] == refused[1] and operation["first"] == sent


def test_a_failed_input_of_a_map_raises_and_cancels_the_others(runner):
    r = runner(MAP)
    r.input(2, order=False)
    takes(r)
    error = {"code": "exception", "message": "ValueError: no", "details": {"type": "ValueError"}}
    tells(r, [{"index": 0, "error": error}], 1)
    request, operation, _ = asks(r)
    if operation["op"] != "cancel":
        r.reply(request, {"id": "inv_map", "inputs": 2})
        request, operation, _ = asks(r)
    assert operation == {"op": "cancel", "invocation": "inv_map"}
    r.reply(request, None)
    assert r.outcome()[0]["error"]["code"] == "exception"


def test_a_map_is_spawned_and_its_results_are_read_by_id(runner):
    r = runner(
        "import fabric_sdk as fabric\ng = fabric.Function.from_name('app', 'g')\n"
        "def f(id=None):\n  return g.spawn_map([1]).id if id is None else list(fabric.Invocation.from_id(id).results())"
    )
    r.input()
    operation, _ = takes(r)
    assert operation["awaited"] is False
    while True:
        header, body = r.expect("request", "result")
        if header["type"] == "result":
            break
        r.reply(header, {"id": "inv_map", "inputs": 1})
    r.ack(header)
    assert body == b'"inv_map"'
    r.input("inv_map")
    tells(r, [{"index": 0, "result": 5}], 1)
    tells(r, [], 1, {"state": "succeeded"})
    assert r.outcome()[1] == b"[5]"


@pytest.mark.parametrize("slots", [1, 2])
def test_a_cancel_ends_a_map_that_is_waited_for(runner, slots):
    r = runner(MAP, slots=slots)
    name = r.input(1)
    takes(r)
    while asks(r)[1]["op"] != "results":
        pass
    r.connection.send({"type": "cancel", **name, "reason": "cancelled"})
    while True:
        header, _ = r.expect("request", "error")
        if header["type"] == "error":
            break
        r.reply(header, {"id": "inv_map", "inputs": 1})
    assert header["error"]["code"] == "cancelled"


GENERATES = """
import fabric_sdk as fabric
g = fabric.Function.from_name('app', 'g')
def f(most=99):
    got = []
    for value in g.remote_gen(1):
        got.append(value)
        if len(got) == most: break
    return got
"""


def events(r, *lines, after=None):
    request, operation, _ = asks(r)
    assert operation == {"op": "events", "invocation": "inv_gen", **({"after": after} if after else {})}
    r.reply(request, {}, body=b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def yields(r):
    request, operation, _ = asks(r)
    assert operation["yields"] and operation["awaited"] and not operation["wait"]
    r.reply(request, {"id": "inv_gen", "state": "queued"})


def chunk(n, value):
    return {"type": "chunk", "id": f"1-{n}", "value": value}


def test_what_a_generator_yields_is_read_as_it_comes(runner):
    r = runner(GENERATES)
    r.input()
    yields(r)
    events(r, chunk(0, "a"), chunk(1, "b"))
    events(r, chunk(2, "c"), after="1-1")
    events(r, {"type": "end", "id": "inv_gen", "state": "succeeded"}, after="1-2")
    request, operation, _ = asks(r)
    assert operation["op"] == "outcome"
    r.reply(request, {"id": "inv_gen", "state": "succeeded", "encoding": "json"}, body=b"null")
    assert json.loads(r.outcome()[1]) == ["a", "b", "c"]


def test_leaving_a_generator_early_cancels_it(runner):
    r = runner(GENERATES)
    r.input(1)
    yields(r)
    events(r, chunk(0, "a"), chunk(1, "b"))
    request, operation, _ = asks(r)
    assert operation == {"op": "cancel", "invocation": "inv_gen"}
    r.reply(request, None)
    assert r.outcome()[1] == b'["a"]'


CANCELLED = {
    "plain": SOURCE,
    "threads": SOURCE + "def f():\n  from concurrent.futures import ThreadPoolExecutor\n"
    "  with ThreadPoolExecutor(1) as pool: return pool.submit(g.remote).result()",
    "async": SOURCE + "async def f(): return await g.remote.aio()",
}


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("kind", CANCELLED)
def test_a_cancel_ends_the_wait_at_once(runner, kind, slots):
    r = runner(CANCELLED[kind], is_async=kind == "async", slots=slots)
    name = r.input()
    request, _, _ = asks(r)
    r.connection.send({"type": "cancel", **name, "reason": "cancelled"})
    assert r.outcome()[0]["error"]["code"] == "cancelled"
    ended(r, request, None, stream=2)  # too late: thrown away
    r.send_stream(2, b"x" * 10)
    r.input()
    ended(r, asks_past_credit(r), 5)
    assert r.outcome()[1] == b"5"


def asks_past_credit(r):
    while (frame := r.expect("request", "stream.credit"))[0]["type"] == "stream.credit":
        pass
    return frame[0]


def test_a_forked_process_is_told_that_it_has_no_way_to_the_runner(runner):
    r = runner(
        SOURCE + "import os\ndef f():\n  a, b = os.pipe()\n  if os.fork() == 0:\n"
        "    try: g.remote()\n    except fabric.InvalidError as error: os.write(b, str(error).encode())\n"
        "    os._exit(0)\n  return os.read(a, 999).decode()"
    )
    assert "has no way to its runner" in r.call()
