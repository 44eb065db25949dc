"""A container's parent: it imports once, and forks another worker when one dies."""

from __future__ import annotations

import os
import signal
import time

from fabric_sdk._shim.parent import pause_s
from test_golden import same_shape

CODE = """
import os, signal, sys, threading
print('imported once', flush=True)
calls = []
def f(what=None):
    calls.append(what)
    if what == 'exit': os._exit(3)
    if what == 'segv': os.kill(os.getpid(), signal.SIGSEGV)
    if what == 'threads': return [one.name for one in threading.enumerate()]
    return [len(calls), os.getppid()]
"""


def boot(runner, code=CODE, **more):
    r = runner(code, boot=False, **more).boot(module="fabric_sdk._shim.parent")
    return next_worker(r)


def next_worker(r):
    """The parent only reads what to import; then, and after each death, a worker connects."""
    while r.connection.receive() is not None:
        pass
    r.connection.close()
    r.accept()
    return r


def test_a_worker_that_dies_is_replaced_without_another_import(runner):
    r = boot(runner)
    assert "after" not in r.ready()
    r.expect_log("imported once")
    r.logs.clear()
    for calls in (1, 2):  # one process for all inputs
        r.input()
        assert r.outcome()[1] == b"[%d,%d]" % (calls, r.process.pid)
    for count, (what, code) in enumerate((("exit", 3), ("segv", 128 + signal.SIGSEGV)), 1):
        r.input(what)
        began = time.monotonic()
        again = next_worker(r).ready()
        print(f"another worker after {(time.monotonic() - began) * 1000:.0f} ms")
        same_shape({**again, "running": []}, "ready-after")
        assert again["after"] == {"count": count, "code": code, "out_of_memory": False} and again["running"] == []
        r.input()
        assert r.outcome()[1] == b"[1,%d]" % r.process.pid
    assert not any("imported once" in line for _id, _source, line in r.logs)
    r.connection.send({"type": "shutdown"})
    assert r.process.wait(10) == 0


def test_what_does_not_import_ends_the_container_with_its_reason(runner):
    r = boot(runner, "import nothing_of_this_name")
    header, _ = r.expect("import_failed")
    assert "nothing_of_this_name" in header["message"]
    assert r.process.wait(10) == 78


def test_a_container_that_is_stopped_lets_its_input_end(runner):
    r = boot(runner, "import time\ndef f():\n  time.sleep(0.3)\n  return 'whole'")
    r.ready()
    r.input()
    time.sleep(0.1)
    os.kill(r.process.pid, signal.SIGTERM)
    assert r.outcome()[1] == b'"whole"'
    assert r.process.wait(10) == 0


def test_workers_that_die_one_after_the_other_come_ever_more_slowly():
    assert [pause_s(deaths) for deaths in (1, 2, 3, 4)] == [0, 0.1, 0.2, 0.4]
    assert pause_s(1_000) == 10
