"""Slices of a map: many inputs in one frame, their outcomes in few."""

from __future__ import annotations

import base64
import json
import pickle

ID = "inv_x.1"
WAITS = """
import time, os
def f(x):
  print('started')
  while not os.path.exists('go'): time.sleep(0.01)
  return x
"""


def send(r, lines, *, first=0, generation=1, accept_pickle=False):
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    header = {"type": "inputs", "id": ID, "generation": generation, "first": first}
    r.connection.send({**header, "accept_pickle": accept_pickle, "timeout_ms": 60_000}, body)


def frames(r):
    """`results` frames until the last one."""
    while True:
        header, body = r.expect("results")
        yield header, [json.loads(line) for line in body.splitlines()]
        if header["last"]:
            return


def outcomes(r):
    return [line for _header, lines in frames(r) for line in lines]


def test_inputs_run_in_order_and_their_outcomes_are_lines(runner):
    r = runner("def f(x, y=1): return {'sum': x + y}")
    send(r, [[1], [2, 5], {"args": [3], "kwargs": {"y": 0}}], first=40)
    assert outcomes(r) == [
        {"index": 40, "result": {"sum": 2}},
        {"index": 41, "result": {"sum": 7}},
        {"index": 42, "result": {"sum": 3}},
    ]


def test_many_inputs_need_few_frames(runner):
    r = runner("def f(x): return x")
    send(r, [[i] for i in range(1000)])
    got = list(frames(r))
    assert [line["result"] for _header, lines in got for line in lines] == list(range(1000)) and len(got) < 20
    firsts = [header["first"] for header, _lines in got]
    assert firsts[0] == 0 and firsts == sorted(firsts)


def test_one_input_that_fails_leaves_the_others_alone(runner):
    r = runner("def f(x):\n  if x == 1: raise ValueError('no 1')\n  if x == 2: raise SystemExit(3)\n  return x")
    send(r, [[0], [1], [2], [3], [4, 5]])
    ok, raised, left, last, misfit = outcomes(r)
    assert (ok["result"], last["result"]) == (0, 3)
    assert raised["error"]["code"] == "exception" and raised["error"]["type"] == "ValueError"
    assert "no 1" in raised["error"]["traceback"]
    assert str(pickle.loads(base64.b64decode(raised["exception"]))) == "no 1"
    assert left["error"]["code"] == "exited" and misfit["error"]["code"] == "invalid_arguments"


def test_pickles_travel_as_base64(runner):
    r = runner("def f(x): return (x, {1})")
    line = {"pickle": base64.b64encode(pickle.dumps((((1, 2),), {}))).decode()}
    send(r, [line, {"pickle": "AAAA"}], accept_pickle=True)
    good, bad = outcomes(r)
    assert pickle.loads(base64.b64decode(good["pickle"])) == ((1, 2), {1})
    assert bad["error"]["code"] == "invalid_arguments" and "do not open" in bad["error"]["message"]


def test_a_result_that_does_not_fit_into_a_line_is_that_inputs_error(runner):
    r = runner("def f(n): return 'x' * n")
    send(r, [[10], [800_000], [11]])
    short, long, other = outcomes(r)
    assert long["error"]["code"] == "result_too_large" and len(short["result"]) == 10 and len(other["result"]) == 11


def test_outcomes_do_not_wait_for_a_slow_input(runner):
    r = runner("import time, os\ndef f(x):\n  while x == 2 and not os.path.exists('go'): time.sleep(0.01)\n  return x")
    send(r, [[0], [1], [2], [3]])
    header, body = r.expect("results")
    assert not header["last"] and [json.loads(line)["index"] for line in body.splitlines()] == [0, 1]
    (r.scratch / "go").touch()
    assert [line["index"] for line in outcomes(r)] == [2, 3]


def test_trimming_keeps_what_runs_and_gives_the_others_back(runner):
    r = runner(WAITS)
    send(r, [[0], [1], [2]], first=7)
    r.expect_log("started")
    r.connection.send({"type": "trim", "id": ID, "generation": 1})
    header, _ = r.expect("trimmed")
    assert header["next"] == 8
    (r.scratch / "go").touch()
    assert outcomes(r) == [{"index": 7, "result": 0}]


def slow(kind: str) -> str:
    wait = "await asyncio.sleep(60)" if kind == "async" else "[time.sleep(0.01) for _ in range(6000)]"
    return f"import asyncio, time\n{'async ' * (kind == 'async')}def f(x):\n  print(x)\n  if x == 1: {wait}\n  return x"


def kinds(test):
    import pytest

    return pytest.mark.parametrize("kind", ["main", "threads", "async"])(test)


def start(runner, kind):
    return runner(slow(kind), slots=1 if kind == "main" else 4, is_async=kind == "async")


@kinds
def test_a_timeout_ends_one_input_and_the_next_one_runs(runner, kind):
    r = start(runner, kind)
    send(r, [[0], [1], [2]])
    header, _ = r.expect("results")
    assert header["first"] == 0
    late = {"type": "cancel", "id": ID, "generation": 1, "reason": "timed_out"}
    r.connection.send({**late, "index": 0})  # has ended already: nothing happens
    r.connection.send({**late, "index": 1})
    ended, last = outcomes(r)
    assert ended["index"] == 1 and ended["error"]["code"] == "timed_out"
    assert last == {"index": 2, "result": 2}


@kinds
def test_a_cancel_ends_the_slice(runner, kind):
    r = start(runner, kind)
    send(r, [[0], [1], [2]])
    r.expect("results")
    r.connection.send({"type": "cancel", "id": ID, "generation": 1, "reason": "cancelled"})
    (ended,) = outcomes(r)
    assert ended["index"] == 1 and ended["error"]["code"] == "cancelled"


def test_all_is_told_again_to_a_runner_that_came_back(runner):
    r = runner("import time, os\ndef f(x):\n  while x == 1 and not os.path.exists('go'): time.sleep(0.01)\n  return x")
    send(r, [[0], [1]])
    r.expect("results")
    r.lose()
    assert r.come_back()["running"] == [{"id": ID, "generation": 1}]
    header, body = r.expect("results")
    assert header["first"] == 0 and json.loads(body)["index"] == 0
    (r.scratch / "go").touch()
    assert outcomes(r) == [{"index": 1, "result": 1}]
    r.connection.send({"type": "ack", "id": ID, "generation": 1})


def test_a_stop_gives_back_what_was_not_started(runner):
    r = runner(WAITS)
    send(r, [[0], [1], [2]])
    r.expect_log("started")
    r.connection.send({"type": "shutdown"})
    r.connection.send({"type": "stream.open", "stream": 1})
    r.expect("stream.credit")  # the shutdown came before
    (r.scratch / "go").touch()
    assert outcomes(r) == [{"index": 0, "result": 0}]
    r.connection.send({"type": "ack", "id": ID, "generation": 1})
    assert r.exit_code() == 0
