"""Inputs and results too large for a frame, and runners that come and go."""

from __future__ import annotations

import json
import os
import pickle

import pytest

BIG = "é" * 900_000


def streamed_input(r, number=2, **header):
    name = {"id": f"inv_s{number}", "generation": 1}
    plain = {"encoding": "json", "accept_pickle": False, "timeout_ms": 1000}
    r.connection.send({"type": "input", **name, **plain, "stream": number, **header})
    return name


def spooled(r):
    folder = r.scratch / ".fabric" / "streams"
    return os.listdir(folder) if folder.exists() else []


def test_large_inputs_arrive_by_stream(runner):
    r = runner("def f(x): return len(x)")
    name = streamed_input(r)
    r.send_stream(2, json.dumps({"args": [BIG * 3], "kwargs": {}}).encode())
    header, body = r.expect("result", "stream.credit")
    while header["type"] != "result":
        header, body = r.expect("result", "stream.credit")
    assert body == b"2700000" and header["id"] == name["id"] and spooled(r) == []


def test_large_results_leave_by_stream_within_their_credit(runner):
    r = runner("def f(n, t): return 'x' * n if not t else (b'y' * n, 1)")
    for window in (100_000, 1 << 20):
        r.input(3_000_000, False)
        header, body = r.expect("result")
        assert body == b"" and header["encoding"] == "json"
        assert json.loads(r.receive_stream(header["stream"], window=window)) == "x" * 3_000_000
        r.ack(header)
    r.input(3_000_000, True, accept_pickle=True)
    header, _ = r.expect("result")
    assert pickle.loads(r.receive_stream(header["stream"])) == (b"y" * 3_000_000, 1)


def test_many_large_results_leave_a_bounded_number_at_once(runner):
    r = runner("def f(i): return str(i) * 300_000", slots=50)
    for i in range(50):
        r.input(i)
    opened, data = {}, {}
    while len(data) < 50 or opened:
        header, body = r.expect("result", "stream.open", "stream.data", "stream.end")
        number = header.get("stream")
        if header["type"] == "result":
            opened[number] = header
            data[number] = b""
            assert len(opened) <= 32
        elif header["type"] == "stream.open":
            r.connection.send({"type": "stream.credit", "stream": number, "bytes": 1 << 20})
        elif header["type"] == "stream.data":
            data[number] += body
        else:
            r.ack(opened.pop(number))
    assert {int(json.loads(value)[:1]) for value in data.values()} == set(range(10))


def test_a_runner_may_cancel_a_result_stream(runner):
    r = runner("def f(n): return 'x' * n")
    r.input(3_000_000)
    header, _ = r.expect("result")
    number = header["stream"]
    r.expect("stream.open")
    r.connection.send({"type": "stream.credit", "stream": number, "bytes": 10})
    assert len(r.expect("stream.data")[1]) == 10
    r.connection.send({"type": "stream.cancel", "stream": number, "reason": "too large"})
    r.connection.send({"type": "stream.credit", "stream": number, "bytes": 10})
    r.ack(header)
    assert r.call(1) == "x"


def test_a_runner_may_cancel_an_input_stream(runner):
    r = runner("def f(x): return x")
    name = streamed_input(r)
    r.connection.send({"type": "stream.open", "stream": 2, "name": "input"})
    r.expect("stream.credit")
    r.connection.send({"type": "stream.data", "stream": 2}, b"half")
    r.connection.send({"type": "stream.cancel", "stream": 2, "reason": "the caller went away"})
    header, _ = r.outcome()
    assert header["id"] == name["id"] and header["error"]["code"] == "cancelled"
    assert "the caller went away" in header["error"]["message"] and spooled(r) == []


def test_cancelling_an_input_that_still_arrives_cancels_its_stream(runner):
    r = runner("def f(x): return x")
    name = streamed_input(r)
    r.connection.send({"type": "stream.open", "stream": 2, "name": "input"})
    r.expect("stream.credit")
    r.connection.send({"type": "cancel", **name, "reason": "timed_out"})
    seen = {r.expect("stream.cancel", "error")[0]["type"] for _ in range(2)}
    assert seen == {"stream.cancel", "error"}
    r.connection.send({"type": "stream.data", "stream": 2}, b"late")
    assert r.call(1) == 1 and spooled(r) == []


def test_unacknowledged_outcomes_are_sent_again(runner):
    r = runner("def f(x):\n  if x > 1: raise ValueError(x)\n  return x")
    first, second = r.input(1), r.input(2)
    r.expect("result")
    r.expect("error")
    r.lose()
    assert r.come_back()["running"] == []
    again = {header["id"] for header, _ in (r.outcome(), r.outcome())}
    assert again == {first["id"], second["id"]}
    r.lose()
    r.come_back()
    assert r.call(0) == 0  # nothing else came: both were acknowledged


def test_a_streamed_result_starts_over_after_a_reconnection(runner):
    r = runner("def f(n): return 'x' * n")
    r.input(1_000_000)
    header, _ = r.expect("result")
    r.expect("stream.open")
    r.connection.send({"type": "stream.credit", "stream": header["stream"], "bytes": 1000})
    r.expect("stream.data")
    r.lose()
    r.come_back()
    header, _ = r.expect("result")
    assert len(r.receive_stream(header["stream"])) == 1_000_002


@pytest.mark.parametrize("options", [{}, {"slots": 2}, {"is_async": True}])
def test_running_attempts_are_named_and_finish_after_a_reconnection(runner, options):
    body = "  import time\n  while not os.path.exists('go'): time.sleep(0.002)\n  return x"
    if options.get("is_async"):
        body = "  import asyncio\n  while not os.path.exists('go'): await asyncio.sleep(0.002)\n  return x"
    r = runner(
        ("import os\nasync " if options.get("is_async") else "import os\n") + "def f(x):\n  print('started')\n" + body,
        **options,
    )
    name = r.input(7)
    r.expect_log("started")
    r.lose()
    assert r.come_back()["running"] == [name]
    (r.scratch / "go").touch()
    assert r.outcome()[1] == b"7"


def test_an_outcome_made_while_nobody_listens_is_kept(runner):
    r = runner(
        "import os, time\ndef f():\n  print('started')\n  while not os.path.exists('go'): time.sleep(0.002)\n"
        "  print('later'); os.rename('go', 'gone')\n  return 1"
    )
    name = r.input()
    r.expect_log("started")
    r.lose()
    (r.scratch / "go").touch()
    while not (r.scratch / "gone").exists():
        os.sched_yield()
    r.come_back()
    assert r.outcome()[1] == b"1" and r.printed("stdout", name["id"]).endswith("later\n")


def test_an_input_whose_stream_broke_is_not_claimed(runner):
    r = runner("def f(x): return x")
    streamed_input(r)
    r.connection.send({"type": "stream.open", "stream": 2, "name": "input"})
    r.expect("stream.credit")
    r.lose()
    assert r.come_back()["running"] == []
    assert r.call(1) == 1 and spooled(r) == []


def test_a_runner_that_is_not_there_yet_is_awaited(runner):
    r = runner("def f(x): return x", boot=False)
    r._listener.close()
    os.unlink(r.path)
    import subprocess
    import sys

    from runner import SDK, SITE

    r.process = subprocess.Popen(
        [sys.executable, "-m", "fabric_sdk._shim"],
        env={"PYTHONPATH": f"{SDK}{os.pathsep}{SITE}", "FABRIC_SOCKET": r.path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert r.come_back()["running"] == []
    assert r.call(1) == 1
