"""The shim of a gang's container: ranks are forked, talk by themselves, and their ends and last words are told."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from fabric_sdk._shim import rank as rank_module

from runner import DEADLINE_S, Connection, Runner

NAME = {"id": "inv_1", "generation": 2}


class Gang:
    """A runner for one container of a gang with two ranks: 2 and 3 of 4."""

    def __init__(self, folder: Path, code: str, **options):
        self.shim = Runner(folder, code, **options)
        self.listeners = []
        for local in (0, 1):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.settimeout(DEADLINE_S)
            listener.bind(f"{self.shim.path[:-1]}r{local}")
            listener.listen(1)
            self.listeners.append(listener)
        self.ranks: list[Connection] = []
        self.ended: dict[int, dict] = {}
        self.lines: list[tuple[int | None, str, str]] = []

    def boot(self) -> Gang:
        self.shim.boot(module="fabric_sdk._shim.gang", env={"FABRIC_RANK_THREADS": "3"})
        return self

    def launch(self) -> list[Connection]:
        ranks = [
            {
                "rank": 2 + local,
                "env": {
                    "RANK": str(2 + local),
                    "LOCAL_RANK": str(local),
                    "MASTER_ADDR": "127.0.0.1",
                    "FABRIC_SOCKET": f"{self.shim.path[:-1]}r{local}",
                },
            }
            for local in (0, 1)
        ]
        self.shim.connection.send({"type": "launch", **NAME, "ranks": ranks})
        self.ranks = []
        for listener in self.listeners:
            connection = Connection(listener.accept()[0])
            connection.send(self.shim.start_header)
            header, _ = connection.receive()
            assert header["type"] == "ready", header
            self.ranks.append(connection)
        return self.ranks

    def input(self, *args, generation: int = 2) -> None:
        header = {"type": "input", **NAME, "encoding": "json", "accept_pickle": False, "timeout_ms": 60_000}
        for rank in self.ranks:
            rank.send(header, json.dumps({"args": args, "kwargs": {}}).encode())

    def outcome(self, local: int) -> tuple[dict, bytes]:
        header, body = self.ranks[local].receive()
        self.ranks[local].send({"type": "ack", **NAME})
        return header, body

    def ends(self) -> dict[int, dict]:
        """By rank, once both have ended."""
        while len(self.ended) < 2:
            header, body = self.shim.connection.receive()
            if header["type"] == "log":
                self.lines.append((header.get("rank"), header["source"], body.decode()))
            else:
                assert header["type"] == "rank_ended", header
                self.ended[header["rank"]] = header
        return self.ended

    def printed(self, number: int, source: str = "stdout") -> str:
        return "".join(text for rank, from_source, text in self.lines if (rank, from_source) == (number, source))

    def end(self) -> None:
        for one in (*self.ranks, *self.listeners):
            one.close()
        self.shim.end()


@pytest.fixture
def gang():
    made = []

    def make(code: str, **options) -> Gang:
        folder = tempfile.mkdtemp(prefix="fab")
        one = Gang(Path(folder), code, **options)
        made.append((one, folder))
        return one.boot()

    yield make
    for one, folder in made:
        one.end()
        shutil.rmtree(folder)


def test_ranks_are_forks_of_a_process_that_has_the_module_imported(gang):
    g = gang(
        "import os\nprint('importing', flush=True)\nPARENT = os.getpid()\n"
        "def f(a):\n  print('rank', os.environ['RANK'])\n"
        "  return [PARENT == os.getppid(), a + int(os.environ['LOCAL_RANK']), os.environ['GLOO_SOCKET_IFNAME'],\n"
        "    os.environ['OMP_NUM_THREADS']]\n"
    )
    g.shim.ready()
    g.shim.expect_log("importing")
    for _ in range(2):
        g.ended.clear()
        g.launch()
        g.input(5)
        assert [json.loads(g.outcome(local)[1]) for local in (0, 1)] == [[True, 5, "lo", "3"], [True, 6, "lo", "3"]]
        ends = g.ends()
        assert {number: (end["code"], end["out_of_memory"]) for number, end in ends.items()} == {
            2: (0, False),
            3: (0, False),
        }
    assert g.printed(2) == "rank 2\n" * 2
    assert g.printed(3) == "rank 3\n" * 2


@pytest.mark.parametrize(
    ("how", "code"),
    [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", 137), ("os.kill(os.getpid(), 11)", 139)],
)
def test_the_end_of_a_rank_is_told_after_its_last_words(gang, how, code):
    g = gang(
        "import os, sys, time\ndef f():\n  if os.environ['RANK'] == '2': time.sleep(600)\n"
        f"  os.write(2, b'last words'); {how}\n"
    )
    g.shim.ready()
    g.launch()
    g.input()
    while not g.ended:
        header, body = g.shim.connection.receive()
        if header["type"] == "log":
            g.lines.append((header.get("rank"), header["source"], body.decode()))
        else:
            g.ended[header["rank"]] = header
    assert g.ended[3]["code"] == code
    assert g.printed(3, "stderr") == "last words"
    g.shim.connection.send({"type": "halt", **NAME})
    assert g.ends()[2]["code"] == 137


def test_halt_also_ends_what_ranks_have_started(gang, tmp_path):
    pids = tmp_path / "pids"
    g = gang(
        "import os, subprocess, time\n"
        f"def f():\n  p = subprocess.Popen(['sleep', '600'])\n  open({str(pids)!r}, 'a').write(f'{{p.pid}}\\n')\n"
        "  time.sleep(600)\n"
    )
    g.shim.ready()
    g.launch()
    g.input()
    deadline = time.monotonic() + DEADLINE_S
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    g.shim.connection.send({"type": "halt", **NAME})
    g.ends()
    for pid in pids.read_text().split():
        while is_running(int(pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_cancelled_rank_cleans_up(gang):
    g = gang("import time\ndef f():\n  print('begins')\n  try: time.sleep(600)\n  finally: print('cleaned up')\n")
    g.shim.ready()
    g.launch()
    g.input()
    while len(g.lines) < 2:  # both have begun
        header, body = g.shim.connection.receive()
        g.lines.append((header["rank"], header["source"], body.decode()))
    for rank in g.ranks:
        rank.send({"type": "cancel", **NAME, "reason": "cancelled"})
    for local in (0, 1):
        header, _ = g.outcome(local)
        assert (header["type"], header["error"]["code"]) == ("error", "cancelled")
    assert {end["code"] for end in g.ends().values()} == {0}
    assert g.printed(2) == g.printed(3) == "begins\ncleaned up\n"


def test_a_coroutine_function(gang):
    g = gang(
        "import asyncio, os\nasync def f():\n  await asyncio.sleep(0)\n  return os.environ['RANK']\n", is_async=True
    )
    g.shim.ready()
    g.launch()
    g.input()
    assert [json.loads(g.outcome(local)[1]) for local in (0, 1)] == ["2", "3"]


def test_a_gang_ends_with_its_runner(gang):
    g = gang("import os, time\ndef f():\n  time.sleep(600)\n")
    g.shim.ready()
    ranks = g.launch()
    g.input()
    g.shim.lose()
    assert g.shim.exit_code() == 0
    for rank in ranks:
        assert rank.receive() is None


def test_a_module_that_does_not_import_is_told(gang):
    g = gang("print('about to fail')\nraise ValueError('no such digit')\n")
    header, _ = g.shim.expect("import_failed")
    assert header["message"] == "ValueError: no such digit"
    assert any("about to fail" in text for _id, _source, text in g.shim.logs)
    assert g.shim.exit_code() == 78


def test_threads_that_the_import_started_are_warned_of(gang):
    g = gang(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\ndef f(): 0\n"
    )
    g.shim.ready()
    g.shim.expect_log("importing the module started threads")


def test_the_interface_of_an_address():
    assert rank_module.interface_to("127.0.0.1") == "lo"
    assert rank_module.own_variables("127.0.0.1", {"NCCL_SOCKET_IFNAME": "ib0"}).get("GLOO_SOCKET_IFNAME") == "lo"
    assert "NCCL_SOCKET_IFNAME" not in rank_module.own_variables("127.0.0.1", {"NCCL_SOCKET_IFNAME": "ib0"})


def test_what_was_killed_for_memory_is_counted_where_the_kernel_says(monkeypatch, tmp_path):
    from fabric_sdk._shim import ranks

    counts = tmp_path / "memory.events"
    monkeypatch.setattr(ranks, "_OOM_COUNTS", (str(tmp_path / "absent"), str(counts)))
    assert ranks.oom_kills() == 0
    counts.write_text("low 0\noom 2\noom_kill 3\n")
    assert ranks.oom_kills() == 3
    assert os.path.exists(counts)
