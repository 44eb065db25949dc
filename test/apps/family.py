"""An app whose functions call each other, on a node with one cpu."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import fabric_sdk as fabric

app = fabric.App("family", memory=64, network="none", scaledown_window=5, timeout=120)


class Upset(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@app.function()
def double(n: int) -> int:
    print(f"doubling {n}")
    return 2 * n


@app.function()
def upset() -> None:
    raise Upset(7)


@app.function()
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def chain(n: int) -> int:
    return 2 * double.remote(n)


@app.function()
def fans(n: int) -> list[int]:
    return [call.get() for call in [double.spawn(i) for i in range(n)]]


@app.function()
async def gathers(n: int) -> list[int]:
    return list(await asyncio.gather(*[double.remote.aio(i) for i in range(n)]))


@app.function()
def maps(n: int) -> list[int]:
    return list(double.map(range(n)))


@app.function()
def add(a: int, b: int) -> int:
    return a + b


@app.function()
def stars(n: int) -> list[int]:
    return list(add.starmap((i, i) for i in range(n)))


@app.function()
def collects(n: int) -> list[int]:
    return list(double.spawn_map(range(n)).results())


@app.function()
def counted(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
def streams(n: int) -> list[int]:
    return list(counted.remote_gen(n))


@app.function(key_concurrency=1)
def left(key: str, gate: str | None = None) -> str:
    return crosses(right, key, gate)


@app.function(key_concurrency=1)
def right(key: str, gate: str | None = None) -> str:
    return crosses(left, key, gate)


def crosses(other: fabric.Function, key: str, gate: str | None) -> str:
    """With a gate, calls the other one under the same key, once the gate is open: that call has ended."""
    if gate is None:
        return key
    try:
        fabric.Invocation.from_id(gate).get()
    except fabric.CancelledError:
        pass
    return other.with_call_options(key=key).remote(key)


@app.function(max_containers=1)
def depth(n: int) -> int:
    return 0 if n == 0 else 1 + depth.remote(n - 1)


@app.function()
def catches() -> list[object]:
    try:
        upset.remote()
    except Upset as error:
        return [error.number, str(error.__cause__)]
    return []


@app.function()
def asks(app_name: str, name: str) -> object:
    return fabric.Function.from_name(app_name, name).remote()


@app.function()
def carries(n: int) -> int:
    """A set travels as a pickle, and back."""
    return len(unions.remote({*range(n)}))


@app.function()
def unions(numbers: set[int]) -> set[int]:
    return numbers | {-1}


@app.function()
def naps(seconds: float) -> float:
    return nap.remote(seconds)


@app.function()
def grandparent(seconds: float) -> float:
    return naps.remote(seconds)


@app.cls()
class Counter:
    start: int = fabric.parameter(default=0)

    @fabric.method()
    def plus(self, n: int) -> int:
        return self.start + n


@app.function()
def counts() -> int:
    return Counter(start=40).plus.remote(2)
