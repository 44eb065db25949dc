"""An app for fault tests: each execution leaves a line at its start and its end in a journal outside of fabric."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fabric_sdk as fabric
import fabric_sdk.train

image = fabric.Image.python("3.11")
app = fabric.App("faults", image=image, memory=64, network="none")


def note(journal: str | None, event: str, token: str) -> None:
    if journal is None:
        return
    line = f"{event} {token} {os.getpid()} {time.monotonic()}\n"
    # One write to a file opened for appending: lines of several processes do not mix.
    with open(journal, "ab", buffering=0) as file:
        file.write(line.encode())


@contextmanager
def noted(journal: str | None, token: str) -> Iterator[None]:
    note(journal, "start", token)
    try:
        yield
    finally:
        note(journal, "end", token)


@app.function(max_containers=2)
@fabric.concurrent(max_inputs=8)
def fast(token: str, journal: str | None = None) -> str:
    with noted(journal, token):
        return token


@app.function(max_containers=2)
@fabric.concurrent(max_inputs=16)
def brief(token: str, journal: str | None = None) -> str:
    with noted(journal, token):
        time.sleep(0.2)
        return token


@app.function(max_containers=1, retries=2)
@fabric.concurrent(max_inputs=4)
def shaky(token: str, journal: str) -> str:
    """Fails twice."""
    with noted(journal, token):
        with open(journal) as file:
            executions = sum(line.startswith(f"start {token} ") for line in file)
        if executions < 3:
            raise RuntimeError(f"execution {executions} fails")
        return token


@app.function(max_containers=1)
@fabric.concurrent(max_inputs=4)
def wrong(token: str, journal: str | None = None) -> str:
    with noted(journal, token):
        raise ValueError(token)


@app.function(max_containers=1)
@fabric.concurrent(max_inputs=4)
def large(token: str, journal: str | None = None, size: int = 100_000) -> str:
    """Too large for the record: its result goes to the bucket."""
    with noted(journal, token):
        return (token + " ") * (size // (len(token) + 1))


@app.function(max_containers=1)
@fabric.concurrent(max_inputs=2)
def narrow(token: str, journal: str | None = None) -> str:
    """Room for 20 calls a second."""
    with noted(journal, token):
        time.sleep(0.1)
        return token


@app.function(timeout=120)
def nap(token: str, seconds: float = 0.0, journal: str | None = None) -> str:
    with noted(journal, token):
        time.sleep(seconds)
        return token


@app.function(timeout=120)
def signed(token: str, seconds: float = 0.0, journal: str | None = None) -> str:
    """Too large for the record, and tells which process made it."""
    with noted(journal, token):
        time.sleep(seconds)
        return f"{os.getpid()} " * 4_000


@app.function(cpu=0.25, max_containers=2)
def piece(token: str, number: int, journal: str | None = None) -> str:
    """One input of a map; one of ten fails."""
    name = f"{token}.{number}"
    with noted(journal, name):
        if number % 10 == 7:
            raise ValueError(name)
        return name


@app.function(cpu=0.25, max_containers=2)
@fabric.concurrent(max_inputs=8)
def ticks(token: str, journal: str | None = None) -> Iterator[str]:
    with noted(journal, token):
        for n in range(20):
            time.sleep(0.05)
            yield f"{token}.{n}"
        return token


@app.function(cpu=0.25, max_containers=2)
@fabric.concurrent(max_inputs=8)
def child(token: str, journal: str | None = None) -> str:
    with noted(journal, token):
        time.sleep(0.1)
        return token


@app.function(cpu=0.25, max_containers=2)
@fabric.concurrent(max_inputs=8)
def parent(token: str, journal: str | None = None) -> list[str]:
    """Calls in each of the ways there are."""
    with noted(journal, token):
        spawned, awaited, *mapped = [f"{token}.{n}" for n in range(4)]
        call = child.spawn(spawned, journal)
        value = child.remote(awaited, journal)
        values = list(child.map(mapped, [journal] * len(mapped)))
        return [call.get(), value, *values]


@app.function(max_containers=1, timeout=120)
def learns(token: str, journal: str) -> int:
    """Saves a checkpoint every 0.1 s until it is told to stop; the step at which it began."""
    with noted(journal, token), tempfile.TemporaryDirectory() as folder:
        fabric.train.series(token)
        saved = fabric.train.get_checkpoint()
        first = 0
        if saved is not None:
            with open(os.path.join(saved.path, "weights")) as file:
                first = len(file.read()) + 1
        for step in itertools.count(first):
            with open(os.path.join(folder, "weights"), "w") as file:
                file.write("x" * step)
            fabric.train.report({"step": step}, fabric.Checkpoint.from_directory(folder))
            if os.path.exists(f"{journal}.{token}"):
                break
            time.sleep(0.1)
        return first


@app.function(timeout=1)
def stubborn() -> None:
    """Neither a signal nor an exception ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            while True:
                time.sleep(1)
        except BaseException:
            continue


@app.function(max_containers=1)
@fabric.concurrent(max_inputs=4)
def shared(token: str, seconds: float = 0.0, poison: str | None = None, journal: str | None = None) -> str:
    """Inputs beside each other in one container; a poisonous one takes it down."""
    with noted(journal, token):
        time.sleep(seconds)
        if poison == "exit":
            os._exit(1)
        if poison == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return token


@app.function(memory=(64, 96))
def hoards(in_child: bool = False) -> str:
    """Takes more memory than it may have, itself or in a child process whose end it handles."""
    if not in_child:
        hoard = [bytearray(8 << 20) for _ in range(64)]
        return f"had {len(hoard)} blocks"
    child = subprocess.run([sys.executable, "-c", "x = [bytearray(8 << 20) for _ in range(64)]"], check=False)
    return "the child was killed" if child.returncode == -signal.SIGKILL else f"it ended with {child.returncode}"


@app.function(max_containers=1, respawn=True, memory=(64, 128))
@fabric.concurrent(max_inputs=4)
def sturdy(token: str, seconds: float = 0.0, poison: str | None = None, journal: str | None = None) -> str:
    """Its container outlives what its inputs do to their process."""
    with noted(journal, token):
        time.sleep(seconds)
        if poison == "exit":
            os._exit(1)
        if poison == "hoard":
            return str(len([bytearray(8 << 20) for _ in range(64)]))
        return os.environ["FABRIC_CONTAINER"]
