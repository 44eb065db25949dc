"""Inputs that shall end before they do by themselves."""

from __future__ import annotations

import json

import pytest

LOOP = """
import threading, time, fabric_sdk
seen = []
def f(mode):
    if mode == 'seen': return seen
    try:
        print('started', flush=True)
        for _ in range(4000): time.sleep(0.005)
    except fabric_sdk.InputCancelled:
        seen.append(mode)
        if mode == 'swallow': return 'done anyway'
        if mode == 'worse': raise ValueError('while cleaning up')
        raise
    return 'not cancelled'
"""


def cancel(r, name, reason="cancelled"):
    r.connection.send({"type": "cancel", **name, "reason": reason})


def started(r, name=None):
    r.expect_log("started")
    r.logs.clear()


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("mode", ["pass", "swallow", "worse"])
@pytest.mark.parametrize("reason", ["cancelled", "timed_out"])
def test_user_code_is_told_and_the_outcome_is_the_reason(runner, slots, mode, reason):
    r = runner(LOOP, slots=slots)
    name = r.input(mode)
    started(r)
    cancel(r, name, reason)
    header, _ = r.outcome()
    assert header["type"] == "error" and header["error"]["code"] == reason and header["id"] == name["id"]
    assert r.call("seen") == [mode]


def test_a_blocking_system_call_on_the_main_thread_is_interrupted(runner):
    r = runner("import time\ndef f():\n  print('started'); time.sleep(100)")
    name = r.input()
    started(r)
    cancel(r, name)
    header, _ = r.outcome()
    assert header["error"]["code"] == "cancelled" and "time.sleep" in header["error"].get("traceback", "time.sleep")


def test_coroutines_are_cancelled(runner):
    r = runner(
        "import asyncio\nasync def f(x=0):\n  if x: return x\n  print('started', flush=True); await asyncio.sleep(100)",
        slots=2,
        is_async=True,
    )
    name = r.input()
    started(r)
    cancel(r, name, "timed_out")
    assert r.outcome()[0]["error"]["code"] == "timed_out"
    assert r.call(3) == 3


@pytest.mark.parametrize("options", [{}, {"slots": 2}, {"is_async": True}])
def test_a_cancel_that_comes_with_or_after_its_input_hits_no_other(runner, options):
    r = runner(("async " if options.get("is_async") else "") + "def f(x): return x", **options)
    for turn in range(200):
        name = r.input(turn)
        cancel(r, name)
        header, body = r.outcome()
        assert header["id"] == name["id"]
        assert body == str(turn).encode() if header["type"] == "result" else header["error"]["code"] == "cancelled"
        cancel(r, name)
        assert r.call("x") == "x"


def test_one_of_several_threads_is_cancelled_alone(runner):
    r = runner(
        "import time, threading\ngo = threading.Event()\n"
        "def f(x):\n  if x == 'go': go.set(); return x\n  print('started', flush=True)\n"
        "  while not go.is_set(): time.sleep(0.002)\n  return x",
        slots=3,
    )
    first, second = r.input("a"), r.input("b")
    r.expect_log("started")
    cancel(r, second)
    header, _ = r.outcome()
    assert header["id"] == second["id"] and header["error"]["code"] == "cancelled"
    r.input("go")
    ended = {header["id"]: json.loads(body) for header, body in (r.outcome(), r.outcome())}
    assert ended[first["id"]] == "a"


def test_a_thread_that_waits_for_its_runner_is_cancelled(runner):
    r = runner("import fabric_sdk as fabric\ndef f(): fabric.train.report({'a': 1})", slots=2)
    name = r.input()
    r.request()
    cancel(r, name)
    assert r.outcome()[0]["error"]["code"] == "cancelled"


def test_a_cancel_while_printing_leaves_the_frames_whole(runner):
    r = runner("def f(x=0):\n  while not x: print('x' * 300)\n  return x")
    for _ in range(20):
        name = r.input()
        r.expect_log("x")
        r.logs.clear()
        cancel(r, name)
        assert r.outcome()[0]["error"]["code"] == "cancelled"
    assert r.call(1) == 1
