"""A gang that no node of a test's fabric has room for: it is on several."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import fabric_sdk as fabric
from gangs import all_reduce, facts

app = fabric.App("gangs_spread", cpu=0.1, memory=64, scaledown_window=30)


@app.function()
def twice(text: str) -> str:
    return text * 2


@app.function(gang=6, cpu=0.5, timeout=600)
def spread(ends: str = "", rank: int = -1, seconds: float = 0, data: str = "") -> dict[str, object]:
    """In the first attempt `rank` ends by `ends`, and the others sleep."""
    me = int(os.environ["RANK"])
    print(f"rank {me} is {os.getpid()} in {os.environ['NCCL_HOSTID']}", flush=True)
    total, began = all_reduce(1), time.time()
    if data and me == 5:
        assert twice.remote(data) == data * 2
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        if me == rank:
            print("the last words", flush=True)
            if ends == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("no such digit")
        time.sleep(seconds)
    return {"sum": total, "began": began, "ended": time.time(), "length": len(data), **facts()}


@app.function(gang=6, cpu=0.5, timeout=600)
def trains(epochs: int, kill_at: int = -1, missing: bool = False) -> dict[str, object]:
    """Each rank saves a file of its own and some that all have; rank 5 is killed once, before it reports `kill_at`."""
    rank = os.environ["RANK"]
    resumed = fabric.train.get_checkpoint()
    begin = 0 if resumed is None else int(Path(resumed.path, "epoch").read_text()) + 1
    for epoch in range(begin, epochs):
        if rank == "5" and epoch == kill_at and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("epoch", f"shard-{rank}"):
                Path(folder, name).write_text(str(epoch))
            Path(folder, "mine").write_text(rank)
            # the same in every epoch
            Path(folder, f"frozen-{rank}").write_text(rank * 100_000)
            if missing and rank == "5":
                Path(folder, "manifest.json").write_text("fabric names one so")
            fabric.train.report({"loss": float(rank)}, fabric.Checkpoint.from_directory(folder))
    last = fabric.train.get_checkpoint()
    assert last is not None
    files = sorted(os.listdir(last.path))
    return {"begin": begin, "step": last.step, "files": files, "read": all_reduce(len(files))}


def meets() -> dict[str, object]:
    return {"sum": all_reduce(1), "interfaces": sorted(os.listdir("/sys/class/net")), **facts()}


@app.function(gang=3, cpu=1, network="none")
def sealed() -> dict[str, object]:
    return meets()


@app.function(gang=3, cpu=1)
def reaching() -> dict[str, object]:
    return meets()
