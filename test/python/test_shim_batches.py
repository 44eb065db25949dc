"""Batched functions in a real shim: what is collected, who gets which result, and what a cancel takes along."""

from __future__ import annotations

import json
import time

import pytest


def batched(size: int, wait_ms: int, **more) -> dict:
    return {"more": {"batched": {"max_batch_size": size, "wait_ms": wait_ms}}, "slots": size, **more}


def outcomes(r, count: int) -> dict:
    found = {}
    for _ in range(count):
        header, body = r.outcome()
        found[header["id"]] = header.get("error") or json.loads(body)
    return found


KINDS = [("def", False), ("async def", True)]


@pytest.mark.parametrize("kind, is_async", KINDS)
def test_a_full_batch_is_one_call_and_each_input_gets_its_own(runner, kind, is_async):
    code = f"{kind} f(x, y=10): return [[len(x), a + b] for a, b in zip(x, y)]"
    r = runner(code, **batched(3, 60_000, is_async=is_async))
    r.input(1, y=5, id="a")
    r.input(x=2, id="b")
    r.input(3, 7, id="c")
    assert outcomes(r, 3) == {"a": [3, 6], "b": [3, 12], "c": [3, 10]}


@pytest.mark.parametrize("kind, is_async", KINDS)
def test_a_batch_that_does_not_fill_up_goes_after_its_wait(runner, kind, is_async):
    r = runner(f"{kind} f(x): return [len(x) for _ in x]", **batched(8, 80, is_async=is_async))
    began = time.monotonic()
    r.input(1, id="a")
    r.input(2, id="b")
    assert outcomes(r, 2) == {"a": 2, "b": 2}
    assert 0.08 <= time.monotonic() - began < 2


def test_parameters_nobody_gives_keep_their_default(runner):
    r = runner("def f(x, mode='fast'): return [mode] * len(x)", **batched(2, 10))
    assert r.call(1) == "fast"


@pytest.mark.parametrize(
    "returned, words", [("{1: 2}", "not a dict"), ("[1]", "given 2 and returned 1"), ("x + x", "returned 4")]
)
def test_what_is_no_list_of_as_many_results_fails_all(runner, returned, words):
    r = runner(f"def f(x): return {returned}", **batched(2, 60_000))
    r.input(1, id="a")
    r.input(2, id="b")
    for error in outcomes(r, 2).values():
        assert error["code"] == "batch_result_invalid" and words in error["message"]


@pytest.mark.parametrize("kind, is_async", KINDS)
def test_an_exception_fails_all_inputs_and_the_next_batch_runs(runner, kind, is_async):
    r = runner(
        f"{kind} f(x):\n  if 0 in x: raise ValueError('no zeros')\n  return x", **batched(2, 60_000, is_async=is_async)
    )
    r.input(0, id="a")
    r.input(1, id="b")
    for error in outcomes(r, 2).values():
        assert error["code"] == "exception" and error["type"] == "ValueError" and "user.py" in error["traceback"]
    r.input(1, id="c")
    r.input(2, id="d")
    assert outcomes(r, 2) == {"c": 1, "d": 2}


def test_arguments_that_do_not_open_or_fit_fail_alone(runner):
    r = runner("def f(x): return [len(x)] * len(x)", **batched(3, 60_000))
    r.input(1, id="a")
    r.input(1, 2, pickled=True, id="b")
    r.input(3, id="c")
    found = outcomes(r, 3)
    assert found["b"]["code"] == "invalid_arguments" and found["a"] == found["c"] == 2


@pytest.mark.parametrize("kind, is_async", KINDS)
@pytest.mark.parametrize("slots", [2, 4])
def test_a_cancel_of_one_drops_its_result_and_of_the_last_interrupts_the_code(runner, kind, is_async, slots):
    code = (
        "import asyncio, time, pathlib\n"
        f"{kind} f(x):\n"
        "  pathlib.Path('began' + str(x[0])).touch()\n"
        "  for _ in range(200):\n"
        "    if pathlib.Path('go').exists(): return x\n"
        f"    {'await asyncio.sleep(0.02)' if is_async else 'time.sleep(0.02)'}\n"
        "  return x\n"
    )
    r = runner(code, **{**batched(2, 60_000, is_async=is_async), "slots": slots})
    cancel = {"type": "cancel", "generation": 1, "reason": "cancelled"}

    def begun(number: int) -> None:
        deadline = time.monotonic() + 5
        while not (r.scratch / f"began{number}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    r.input(1, id="a")
    r.input(2, id="b")
    begun(1)
    r.connection.send({**cancel, "id": "a"})
    header, _ = r.outcome()
    assert header["id"] == "a" and header["error"]["code"] == "cancelled"
    r.connection.send({**cancel, "id": "b", "reason": "timed_out"})
    header, _ = r.outcome()
    assert header["id"] == "b" and header["error"]["code"] == "timed_out"
    r.input(3, id="c")
    r.input(4, id="d")
    begun(3)
    r.connection.send({**cancel, "id": "c"})
    assert r.outcome()[0]["id"] == "c"
    (r.scratch / "go").touch()
    assert outcomes(r, 1) == {"d": 4}


def test_a_cancel_of_one_that_still_waits_leaves_the_others(runner):
    r = runner("def f(x): return [len(x)] * len(x)", **batched(2, 60_000))
    r.input(1, id="a")
    r.connection.send({"type": "cancel", "id": "a", "generation": 1, "reason": "cancelled"})
    assert r.outcome()[0]["error"]["code"] == "cancelled"
    r.input(2, id="b")
    r.input(3, id="c")
    assert outcomes(r, 2) == {"b": 2, "c": 2}


def test_two_lanes_run_two_batches_at_once(runner):
    code = (
        "import threading\nmeet = threading.Barrier(2, timeout=5)\ndef f(x):\n  meet.wait()\n  return [len(x)] * len(x)"
    )
    r = runner(code, **{**batched(2, 60_000), "slots": 4})
    for name in "abcd":
        r.input(1, id=name)
    assert outcomes(r, 4) == dict.fromkeys("abcd", 2)


def test_a_shutdown_runs_what_was_collected(runner):
    r = runner("def f(x): return x", **batched(8, 60_000))
    r.input(1, id="a")
    r.connection.send({"type": "shutdown"})
    assert outcomes(r, 1) == {"a": 1}
    assert r.exit_code() == 0


def test_a_batched_method(runner):
    code = (
        "import fabric_sdk as fabric\nclass M:\n  factor: int = fabric.parameter()\n"
        "  @fabric.batched(max_batch_size=2, wait_ms=60000)\n"
        "  def f(self, x): return [self.factor * one for one in x]\n"
    )
    method = {"name": "f", "is_async": False, "batched": {"max_batch_size": 2, "wait_ms": 60_000}}
    more = {"class": {"parameters": {"factor": 3}, "methods": [method]}}
    r = runner(code, entry={"module": "user", "qualname": "M"}, slots=2, more=more)
    r.input(1, id="a", method="f")
    r.input(2, id="b", method="f")
    assert outcomes(r, 2) == {"a": 3, "b": 6}
