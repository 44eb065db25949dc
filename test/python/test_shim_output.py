"""What functions print, and whose it is."""

from __future__ import annotations

import time


def test_output_arrives_before_the_result_under_its_input(runner):
    r = runner(
        "import sys, os, subprocess\n"
        "def f(n):\n  print('python', n); print('error', file=sys.stderr)\n"
        "  subprocess.run(['sh', '-c', 'echo child; echo child-error >&2'])\n  os.write(1, b'raw\\n')\n"
        "  print('no newline', end='')"
    )
    for turn in (1, 2):
        r.logs.clear()
        name = r.input(turn)
        r.outcome()
        assert r.printed("stdout", name["id"]) == f"python {turn}\nchild\nraw\nno newline"
        assert r.printed("stderr", name["id"]) == "error\nchild-error\n"
        assert {entry[0] for entry in r.logs} == {name["id"]}


def test_what_c_code_prints_comes_with_its_input(runner):
    r = runner("import ctypes\nlibc = ctypes.CDLL(None)\ndef f(): libc.printf(b'from C\\n')")
    name = r.input()
    r.outcome()
    assert r.printed("stdout", name["id"]) == "from C\n"


def test_output_of_inputs_that_run_at_once_is_told_apart(runner):
    r = runner(
        "import threading\nb = threading.Barrier(3)\n"
        "def f(x):\n  for i in range(50):\n    print(x, end=' '); print(i)\n    if i % 10 == 0: b.wait(10)",
        slots=3,
    )
    names = [r.input(letter) for letter in "abc"]
    for _ in names:
        r.outcome()
    for letter, name in zip("abc", names):
        assert r.printed("stdout", name["id"]) == "".join(f"{letter} {i}\n" for i in range(50))


def test_output_of_coroutines_is_told_apart(runner):
    r = runner(
        "import asyncio\nasync def f(x):\n  for i in range(20):\n    print(x, i); await asyncio.sleep(0)",
        slots=2,
        is_async=True,
    )
    names = [r.input(letter) for letter in "ab"]
    for _ in names:
        r.outcome()
    for letter, name in zip("ab", names):
        assert r.printed("stdout", name["id"]) == "".join(f"{letter} {i}\n" for i in range(20))


def test_lines_stay_whole_and_bytes_that_are_no_text_do_no_harm(runner):
    r = runner("import os\ndef f():\n  os.write(1, b'\\xff\\xfe ' + b'ab' * 40000 + b'\\nend')")
    name = r.input()
    r.outcome()
    text = r.printed("stdout", name["id"])
    assert text.endswith("ab\nend") and len(text) > 80000 and "\ufffd" in text


def test_much_output_is_not_lost(runner):
    r = runner("def f():\n  for i in range(50000): print(i)")
    name = r.input()
    r.outcome()
    assert r.printed("stdout", name["id"]) == "".join(f"{i}\n" for i in range(50000))


def test_a_function_that_replaces_or_closes_stdout_goes_on(runner):
    r = runner(
        "import sys, io\ndef f(how):\n  if how: sys.stdout.close()\n  else: sys.stdout = io.StringIO()\n  return 1"
    )
    assert r.call(0) == 1 and r.call(1) == 1 and r.call(1) == 1


def test_a_line_without_an_end_is_sent_after_a_while(runner):
    r = runner("import time\ndef f():\n  print('progress', end='\\r', flush=True)\n  time.sleep(100)")
    r.input()
    r.expect_log("progress")


def test_the_shims_own_complaints_go_to_the_containers_stderr(runner):
    r = runner("def f(): pass")
    r.connection.send({"type": "surprise"})
    r.accept()
    r.ready()
    r.process.kill()
    assert "unknown frame type 'surprise'" in r.process.stdout.read().decode()


def test_output_that_no_runner_took_in_time_is_counted(runner, tmp_path):
    r = runner(
        "import os\n"
        "def f(go, done):\n"
        "  while not os.path.exists(go): pass\n"
        "  for i in range(30000): print(f'{i:05} ' + 'x' * 94)\n"
        "  open(done, 'w').close()"
    )
    go, done = tmp_path / "go", tmp_path / "done"
    name = r.input(str(go), str(done))
    r.lose()
    go.touch()
    deadline = time.monotonic() + 20
    while not done.exists():
        assert time.monotonic() < deadline
    r.come_back()
    r.outcome()
    kept = r.printed("stdout", name["id"]).count("\n")
    assert kept > 5000 and r.lost > 5000
    assert kept + r.lost == 30000
