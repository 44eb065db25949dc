"""Inputs and outcomes of one container."""

from __future__ import annotations

import pickle
import sys
import textwrap
from http import HTTPStatus

import pytest


def code(text: str) -> str:
    return textwrap.dedent(text)


def test_a_call_returns_json(runner):
    r = runner("def f(a, b=2): return {'sum': a + b, 'list': [1.5, None, True, 'ü']}")
    assert r.call(1) == {"sum": 3, "list": [1.5, None, True, "ü"]}
    assert r.call(1, b=5)["sum"] == 6


def test_ready_tells_language_version_and_import_time(runner):
    r = runner("def f(): pass", boot=False)
    header = r.boot().ready()
    assert header["protocol"] == 1 and header["language"] == "python" and header["running"] == []
    assert header["version"] == f"{sys.version_info[0]}.{sys.version_info[1]}" and header["import_ms"] >= 0


def test_run_time_is_told(runner):
    r = runner("def f(): pass")
    r.input()
    header, body = r.outcome()
    assert body == b"null" and 0 <= header["run_ms"] < 1000


def test_pickled_arguments_and_results_travel(runner):
    r = runner("def f(x): return (x, {1, 2})")
    assert r.call((1, 2), pickled=True, accept_pickle=True) == ((1, 2), {1, 2})


@pytest.mark.parametrize(
    "value", ["(1, 2)", "{1: 2}", "float('nan')", "2**60", "True and {'a': (1,)}", "HTTPStatus(404)"]
)
def test_what_json_would_change_is_pickled_when_the_caller_can_open_it(runner, value):
    r = runner(f"from http import HTTPStatus\ndef f(): return {value}")
    r.input(accept_pickle=True)
    header, body = r.outcome()
    assert header["encoding"] == "pickle" and repr(pickle.loads(body)) == repr(eval(value, {"HTTPStatus": HTTPStatus}))


def test_plain_callers_get_tuples_as_arrays(runner):
    assert runner("def f(): return (1, (2, 3))").call() == [1, [2, 3]]


@pytest.mark.parametrize(
    "value, hint",
    [
        ("object()", "plain values"),
        ("(i for i in [1])", "list(...)"),
        ("float('nan')", "JSON"),
        ("Array()", "tolist()"),
    ],
)
def test_what_is_no_json_is_refused_with_advice(runner, value, hint):
    r = runner(f"class Array:\n  def tolist(self): pass\ndef f(): return {value}")
    error, _ = r.failure()
    assert error["code"] == "result_not_serializable" and hint in error["message"]


def test_exceptions_carry_type_message_traceback_and_themselves(runner):
    r = runner("def g():\n    raise ValueError('no such digit')\ndef f(): g()")
    error, body = r.failure()
    assert error["code"] == "exception" and error["type"] == "ValueError"
    assert error["message"] == "ValueError: no such digit"
    assert "in g" in error["traceback"] and "_shim" not in error["traceback"] and "execute.py" not in error["traceback"]
    assert repr(pickle.loads(body)) == "ValueError('no such digit')"


def test_an_exception_that_cannot_be_pickled_is_told_in_words(runner):
    error, body = runner(
        "class Odd(Exception):\n  def __init__(self, a, b): super().__init__(a)\ndef f(): raise Odd(1, 2)"
    ).failure()
    assert error["type"] == "user.Odd" and body == b""


@pytest.mark.parametrize(
    "statement, expected",
    [
        ("import sys; sys.exit(3)", "exited"),
        ("raise MemoryError()", "out_of_memory"),
        ("raise OSError(28, 'No space left on device')", "disk_full"),
        ("raise KeyboardInterrupt()", "exception"),
    ],
)
def test_special_ends(runner, statement, expected):
    r = runner(f"def f(x=0):\n  if x: return x\n  {statement}")
    assert r.failure()[0]["code"] == expected
    assert r.call(7) == 7  # the container lives on


def test_arguments_that_do_not_fit_are_the_callers_fault(runner):
    r = runner("def f(a): return a + 'x'")
    error, _ = r.failure(1, 2)
    assert error["code"] == "invalid_arguments" and "positional argument" in error["message"]
    assert r.failure(1)[0]["code"] == "exception"  # a TypeError of the function's own


def test_a_pickle_that_does_not_open_is_the_callers_fault(runner):
    r = runner("def f(a): return a")
    r.connection.send(
        {"type": "input", "id": "x", "generation": 1, "encoding": "pickle", "accept_pickle": False, "timeout_ms": 1},
        b"no",
    )
    assert r.outcome()[0]["error"]["code"] == "invalid_arguments"


def test_hostile_texts_fit_into_a_header(runner):
    r = runner("def f(): raise ValueError('\\x00\\udc80\\U0001f600' * 100000)")
    assert r.failure()[0]["code"] == "exception"


def test_plain_functions_run_on_the_main_thread_in_scratch(runner):
    r = runner(
        "import os, threading, sys\n"
        "def f(): return [threading.current_thread() is threading.main_thread(), os.getcwd(), sys.path[0]]"
    )
    assert r.call() == [True, str(r.scratch), str(r.bundle)]


def test_several_slots_run_at_the_same_time(runner):
    r = runner("import threading\nb = threading.Barrier(3)\ndef f(x):\n  b.wait(10)\n  return x", slots=3)
    for i in range(3):
        r.input(i)
    assert sorted(r.outcome()[1] for _ in range(3)) == [b"0", b"1", b"2"]


def test_coroutine_functions_share_one_loop(runner):
    r = runner(
        "import asyncio\nwaiting = []\n"
        "async def f(x):\n  e = asyncio.Event(); waiting.append(e)\n"
        "  if len(waiting) == 3: [e.set() for e in waiting]\n  await e.wait(); return x",
        slots=3,
        is_async=True,
    )
    for i in range(3):
        r.input(i)
    assert sorted(r.outcome()[1] for _ in range(3)) == [b"0", b"1", b"2"]


def test_errors_in_coroutines(runner):
    r = runner("async def f(x): return 1 / x", is_async=True)
    error, _ = r.failure(0)
    assert error["type"] == "ZeroDivisionError" and "in f" in error["traceback"]
    assert r.failure()[0]["code"] == "invalid_arguments"


def test_functions_travel_by_value(runner):
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 3
    r = runner(boot=False, entry={"pickle": "f.pkl"})
    (r.bundle / "f.pkl").write_bytes(cloudpickle.dumps(lambda x: x * factor))
    r.boot().ready()
    assert r.call(2) == 6


def test_decorated_functions_are_found_below_their_decorator(runner):
    r = runner("import fabric_sdk as fabric\napp = fabric.App('a')\n@app.function()\ndef f(x): return x")
    assert r.call(4) == 4


@pytest.mark.parametrize(
    "text, expected",
    [
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("1 / 0", "division"),
        ("raise SystemExit(1)", "SystemExit"),
        ("", "'f'"),
    ],
)
def test_a_module_that_does_not_import_ends_the_shim_with_78(runner, text, expected):
    r = runner(text, boot=False)
    r.boot()
    header, _ = r.expect("import_failed")
    assert expected in header["message"] and "importlib" not in header["traceback"]
    assert r.exit_code() == 78


def test_modules_are_there_before_the_users_own(runner):
    code = "import sys\nthere = 'wave' in sys.modules\ndef f(): return there"
    r = runner(code, more={"preload": ["wave"]})
    r.input()
    assert r.expect("result")[1] == b"true"
    r = runner(code, more={"preload": ["nothing_of_this_name"]}, boot=False)
    r.boot()
    assert "nothing_of_this_name" in r.expect("import_failed")[0]["message"]


def test_what_a_module_prints_while_imported_is_logged(runner):
    r = runner("print('importing')\ndef f(): pass")
    assert r.printed() == "importing\n" and r.logs[0][0] is None


def test_exit_without_words(runner):
    r = runner("import os\ndef f(): os._exit(3)")
    r.input()
    assert r.connection.receive() is None and r.exit_code() == 3


def test_shutdown_lets_the_running_input_finish(runner):
    r = runner("def f(): return 5")
    name = r.input()
    r.connection.send({"type": "shutdown"})
    _header, body = r.expect("result")
    assert body == b"5"
    r.ack(name)
    assert r.exit_code() == 0


@pytest.mark.parametrize("options", [{}, {"slots": 4}, {"is_async": True}])
def test_sigterm_ends_an_idle_shim(runner, options):
    r = runner("async def f(): pass" if options.get("is_async") else "def f(): pass", **options)
    r.process.terminate()
    assert r.exit_code() == 0


def test_processes_the_function_forks_end_at_sigterm(runner):
    r = runner(
        code("""
        import os, signal
        def f():
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(write, b"x")
                while True: signal.pause()
            os.read(read, 1)
            os.kill(pid, signal.SIGTERM)
            return os.waitpid(pid, 0)[1]
        """)
    )
    assert r.call() == 15
