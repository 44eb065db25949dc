"""Generators in the shim: chunks in order, within their window, sent again until stored; cancelled where they wait."""

from __future__ import annotations

import json
import pickle

import pytest

SYNC = "def f(n, size=0):\n  for i in range(n): yield 'x' * size if size else i\n  return 'done'"
ASYNC = "async def f(n, size=0):\n  for i in range(n): yield 'x' * size if size else i"
WAYS = pytest.mark.parametrize(
    ("code", "options"),
    [(SYNC, {}), (SYNC, {"slots": 2}), (ASYNC, {"is_async": True}), (ASYNC, {"is_async": True, "slots": 2})],
    ids=["main thread", "threads", "loop", "loop with slots"],
)


def chunks(r, count, start=0):
    found = []
    for seq in range(start, start + count):
        header, body = r.expect("yield")
        assert header["seq"] == seq
        found.append(json.loads(body) if header["encoding"] == "json" else pickle.loads(body))
    return found


def stored(r, name, seq):
    r.connection.send({"type": "yield.ack", **name, "seq": seq})


@WAYS
def test_values_leave_as_they_come_and_the_return_value_is_the_result(runner, code, options):
    r = runner(code, **options)
    for n in (3, 0, 1):
        r.input(n)
        assert chunks(r, n) == list(range(n))
        header, body = r.outcome()
        assert header["type"] == "result" and json.loads(body) == (None if "is_async" in options else "done")


@WAYS
@pytest.mark.parametrize(("size", "window"), [(0, 1024), (300_000, 3)])
def test_no_more_than_a_window_leaves_before_it_is_stored(runner, code, options, size, window):
    r = runner(code, **options)
    name = r.input(window * 2, size)
    chunks(r, window)
    stored(r, name, 0)
    chunks(r, 1, window)
    stored(r, name, window)
    chunks(r, window - 1, window + 1)
    assert r.outcome()[0]["type"] == "result"


@WAYS
def test_a_generator_that_waits_for_room_is_cancelled_at_its_yield(runner, code, options):
    r = runner(code.replace("yield", "(yield", 1).replace("else i", "else i)"), **options)
    name = r.input(5000)
    chunks(r, 1024)
    r.connection.send({"type": "cancel", **name, "reason": "cancelled"})
    header, _ = r.outcome()
    assert header["error"]["code"] == "cancelled"
    other = r.input(1)
    assert chunks(r, 1) == [0] and r.outcome()[0]["id"] == other["id"]


def test_cleaning_up_runs_at_the_yield_and_sees_why(runner):
    code = (
        "{0} f(n):\n  try:\n    while True: yield n\n"
        "  except BaseException as e: print('saw', type(e).__name__, flush=True); raise\n"
        "  finally: print('closed', flush=True)"
    )
    for kind, options, seen in (
        ("def", {}, "InputCancelled"),
        ("def", {"slots": 3}, "InputCancelled"),
        ("async def", {"is_async": True}, "CancelledError"),
    ):
        r = runner(code.format(kind), **options)
        name = r.input(1)
        chunks(r, 1024)
        r.connection.send({"type": "cancel", **name, "reason": "timed_out"})
        assert r.outcome()[0]["error"]["code"] == "timed_out"
        assert r.printed() == f"saw {seen}\nclosed\n"


def test_what_is_not_stored_is_sent_again_after_a_reconnection_before_the_result(runner):
    r = runner(SYNC)
    name = r.input(5)
    chunks(r, 5)
    r.expect("result")
    stored(r, name, 1)
    r.lose()
    assert r.come_back()["running"] == []
    assert chunks(r, 3, 2) == [2, 3, 4]
    assert r.outcome()[0]["id"] == name["id"]
    r.input(1)
    assert chunks(r, 1) == [0]


def test_a_generator_goes_on_while_no_runner_is_there_and_is_named_as_running(runner):
    r = runner(SYNC)
    name = r.input(3000)
    chunks(r, 1024)
    r.lose()
    assert r.come_back()["running"] == [name]
    chunks(r, 1024)
    stored(r, name, 1023)
    chunks(r, 1024, 1024)
    stored(r, name, 2047)
    chunks(r, 3000 - 2048, 2048)
    assert r.outcome()[0]["type"] == "result"


def test_an_exception_follows_the_chunks_before_it(runner):
    r = runner("def f():\n  yield 1\n  raise ValueError('no more')")
    r.input()
    assert chunks(r, 1) == [1]
    error = r.outcome()[0]["error"]
    assert error["code"] == "exception" and "no more" in error["message"] and "_shim" not in error["traceback"]


def test_values_that_cannot_travel_fail_the_input_and_close_the_generator(runner):
    r = runner(
        "def f(what):\n  try:\n    yield {'set': {1}, 'big': 'x' * (1 << 20), 'lambda': lambda: 0}[what]\n"
        "  finally: print('closed', flush=True)"
    )
    error, _ = r.failure("big")
    assert error["code"] == "chunk_too_large" and "yield smaller parts" in error["message"]
    error, _ = r.failure("set")
    assert error["code"] == "result_not_serializable" and "yielded" in error["message"]
    assert r.printed() == "closed\n" * 2
    r.input("set", accept_pickle=True)
    assert chunks(r, 1) == [{1}]
    r.outcome()


def test_two_generators_share_a_container_without_sharing_windows(runner):
    r = runner(SYNC, slots=2)
    first, second = r.input(2000), r.input(5)
    seen = {first["id"]: 0, second["id"]: 0}
    while True:
        header, _ = r.expect("yield", "result")
        if header["type"] == "result":
            break
        assert header["seq"] == seen[header["id"]]
        seen[header["id"]] += 1
    assert header["id"] == second["id"] and seen[second["id"]] == 5
