"""Functions that run as gangs: what the tests of gangs call."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path

import fabric_sdk as fabric

app = fabric.App("gangs", cpu=0.1, memory=64, scaledown_window=30)


def all_reduce(value: float) -> float:
    """The sum over all ranks, by way of rank 0 at MASTER_ADDR:MASTER_PORT."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    if rank > 0:
        deadline = time.monotonic() + 30
        while True:
            try:
                peer = socket.create_connection((os.environ["MASTER_ADDR"], port), 30)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        with peer, peer.makefile("rw") as lines:
            lines.write(f"{value}\n")
            lines.flush()
            return float(lines.readline())
    with socket.create_server(("0.0.0.0", port)) as server:
        peers = [server.accept()[0].makefile("rw") for _ in range(world - 1)]
        total = value + sum(float(peer.readline()) for peer in peers)
        for peer in peers:
            peer.write(f"{total}\n")
            peer.flush()
    return total


NAMES = """RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID
NCCL_HOSTID GLOO_SOCKET_IFNAME OMP_NUM_THREADS"""


def facts() -> dict[str, object]:
    return {name: os.environ.get(name) for name in NAMES.split()}


@app.function(gang=2, procs=2, network="none")
def total(values: list[float]) -> dict[str, object]:
    mine = values[int(os.environ["RANK"])]
    print(f"rank {os.environ['RANK']} has {mine}")
    return {"sum": all_reduce(mine), "pid": os.getpid(), "parent": os.getppid(), **facts()}


@app.function(gang=2, procs=2)
def out(values: list[float]) -> float:
    return all_reduce(values[int(os.environ["RANK"])])


@app.function(gang=2, procs=2, retries=fabric.Retries(max_retries=1, initial_delay=0))
def fails(how: str, rank: int, times: int, counter: str) -> list[object]:
    """Rank `rank` fails in its first `times` attempts, while the others wait for it."""
    me = int(os.environ["RANK"])
    if me != rank:
        return [all_reduce(1), os.environ["TORCHELASTIC_RUN_ID"]]
    path = Path(counter)
    before = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (before + 1))
    print(f"this is attempt {before} of rank {me}", flush=True)
    if before < times:
        print("the last words", file=sys.stderr, flush=True)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "exit":
            os._exit(7)
        raise ValueError("no such digit")
    return [all_reduce(1), os.environ["TORCHELASTIC_RUN_ID"]]


@app.function(gang=2, timeout=600)
def naps(seconds: float, restarted: float | None = None) -> str:
    """With `restarted`, attempts after the first sleep so long."""
    print(f"rank {os.environ['RANK']} is {os.getpid()}, {os.getppid()} is its parent", flush=True)
    try:
        time.sleep(seconds if restarted is None or os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" else restarted)
    except BaseException:
        print(f"rank {os.environ['RANK']} cleans up", flush=True)
        raise
    return os.environ["TORCHELASTIC_RUN_ID"]


@app.function(gang=2, timeout=1)
def overruns() -> str:
    return naps.local(300)


@app.function(gang=2, procs=2)
def trains(epochs: int, kill_at: int = -1, behind: bool = False) -> dict[str, object]:
    """Each rank saves a file of its own and some that all have; rank 1 is killed once, before it reports `kill_at`."""
    rank = os.environ["RANK"]
    resumed = fabric.train.get_checkpoint()
    begin = 0 if resumed is None else int(Path(resumed.path, "epoch").read_text()) + 1
    saved: Future[int] | int = begin
    for epoch in range(begin, epochs):
        if rank == "1" and epoch == kill_at and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            stored(saved)
            os.kill(os.getpid(), signal.SIGKILL)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("epoch", f"shard-{rank}"):
                Path(folder, name).write_text(str(epoch))
            Path(folder, "mine").write_text(rank)
            save = fabric.train.report_behind if behind else fabric.train.report
            saved = save({"loss": float(rank)}, fabric.Checkpoint.from_directory(folder))
    stored(saved)
    last = fabric.train.get_checkpoint()
    assert last is not None
    return {"begin": begin, "step": last.step, "loss": last.metrics["loss"], "files": sorted(os.listdir(last.path))}


def stored(saved: Future[int] | int) -> int:
    """Its step, once a save is more than under way."""
    return saved if isinstance(saved, int) else saved.result()


@app.function(gang=2)
def uneven() -> None:
    for _ in range(2 - int(os.environ["RANK"])):
        fabric.train.report({"loss": 1})


@app.function(gang=3, cpu=0.5)
def wide(seconds: float, restarted: float | None = None) -> float:
    time.sleep(seconds if restarted is None or os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" else restarted)
    return all_reduce(1)


@app.function(gang=3, cpu=0.5)
def broad(seconds: float) -> float:
    time.sleep(seconds)
    return all_reduce(1)


@app.function(gang=2)
async def later(n: int) -> int:
    return n * int(os.environ["WORLD_SIZE"])


@app.function(gang=2)
def large(data: str, times: int) -> str:
    """Arguments and results that are too long for a frame."""
    return data * times
