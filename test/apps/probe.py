"""An app whose functions do everything a function can do to its fabric."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import AsyncIterator, Generator, Iterator

import fabric_sdk as fabric

image = fabric.Image.python("3.11")
app = fabric.App("probe", image=image, memory=128, network="none")


@app.function()
def noop() -> None:
    return None


@app.function()
def echo(value: object = None) -> object:
    return value


@app.function()
def add(a: int, b: int = 1) -> int:
    return a + b


@app.function()
async def aecho(value: object) -> object:
    return value


class Upset(Exception):
    def __init__(self, message: str, number: int) -> None:
        super().__init__(message, number)
        self.number = number


@app.function()
def boom(message: str = "no such digit") -> None:
    raise ValueError(message)


@app.function()
def upset() -> None:
    raise Upset("very", 7)


@app.function(retries=2)
def flaky() -> int:
    """Fails until its third attempt; the attempt is told apart by what earlier ones saved."""
    before = fabric.train.get_checkpoint()
    done = 0 if before is None else int(before.metrics["attempt"])
    folder = os.path.join(os.environ["TMPDIR"], "state")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "note.txt"), "w") as file:
        file.write(str(done + 1))
    fabric.train.report({"attempt": done + 1}, checkpoint=fabric.Checkpoint.from_directory(folder))
    if done < 2:
        raise RuntimeError(f"attempt {done + 1} fails")
    return done + 1


@app.function()
def leaves() -> None:
    sys.exit(3)


@app.function()
def dies(code: int = 9) -> None:
    print("about to die", flush=True)
    os._exit(code)


@app.function()
def segfaults() -> None:
    ctypes.string_at(0)


@app.function(memory=(64, 96))
def eats() -> int:
    hoard = [bytearray(8 << 20) for _ in range(64)]
    return sum(len(block) for block in hoard)


@app.function(timeout=1)
def slow(seconds: float = 30.0) -> str:
    time.sleep(seconds)
    return "done"


@app.function(timeout=120)
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@app.function()
def speaks(words: str = "hello") -> str:
    print(words)
    print("to stderr", file=sys.stderr)
    return words


@app.function()
def big(size: int) -> str:
    return "x" * size


@app.function()
def unserializable() -> object:
    return object


@app.function()
def whoami() -> dict[str, object]:
    return {"pid": os.getpid(), "uid": os.getuid(), "cwd": os.getcwd(), "env": sorted(os.environ)}


@app.function(timeout=120)
def trains(epochs: int, pause: float = 0.0, series: str | None = None) -> list[int]:
    """Saves one checkpoint an epoch; answers the epochs this attempt ran itself."""
    if series is not None:
        fabric.train.series(series)
    before = fabric.train.get_checkpoint()
    start = 0
    if before is not None:
        with before.as_directory() as folder, open(os.path.join(folder, "epoch.txt")) as file:
            start = int(file.read()) + 1
    ran = []
    for epoch in range(start, epochs):
        time.sleep(pause)
        folder = os.path.join(os.environ["TMPDIR"], f"epoch-{epoch}")
        os.makedirs(os.path.join(folder, "deep"), exist_ok=True)
        with open(os.path.join(folder, "epoch.txt"), "w") as file:
            file.write(str(epoch))
        with open(os.path.join(folder, "deep", "weights.bin"), "wb") as weights:
            weights.write(bytes([epoch % 256]) * 100_000)
        saved = fabric.Checkpoint.from_directory(folder)
        fabric.train.report({"epoch": epoch, "loss": 1.0 / (epoch + 1)}, checkpoint=saved)
        ran.append(epoch)
    return ran


@app.function(timeout=120)
def counts(n: int, size: int = 0, pause: float = 0.0) -> Iterator[object]:
    for i in range(n):
        time.sleep(pause)
        yield {"n": i, "x": "x" * size} if size else i


@app.function(timeout=120)
async def acounts(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.function(retries=1)
def counts_anew(n: int) -> Generator[tuple[int, int], None, str]:
    """Yields half of it and fails, then all of it."""
    again = fabric.train.get_checkpoint() is not None
    if not again:
        folder = os.path.join(os.environ["TMPDIR"], "mark")
        os.makedirs(folder, exist_ok=True)
        open(os.path.join(folder, "there"), "w").close()
        fabric.train.report({"attempt": 1}, checkpoint=fabric.Checkpoint.from_directory(folder))
    for i in range(n):
        if i == n // 2 and not again:
            raise ValueError("half way")
        yield int(again), i
    return "whole"
