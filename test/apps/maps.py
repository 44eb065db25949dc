"""An app to map over: inputs that succeed, fail once, fail always, or take their container along."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fabric_sdk as fabric

app = fabric.App("maps", memory=128, network="none")


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function(retries=fabric.Retries(max_retries=1, initial_delay=0))
def fails_once(x: int, folder: str) -> int:
    """Of every thousandth input the first attempt fails."""
    if x % 1_000 == 7:
        try:
            Path(folder, str(x)).touch(exist_ok=False)
        except FileExistsError:
            return x
        raise ValueError(f"not yet, {x}")
    return x


@app.function()
def picky(x: int) -> int:
    if x < 0:
        raise ValueError(f"no {x}")
    return x


@app.function()
def mortal(x: int) -> int:
    if x == 13:
        os.abort()
    return x


@app.function(max_containers=2)
def slow(x: int) -> int:
    time.sleep(0.01)
    return x


@app.function()
def set_of(x: tuple[int, int]) -> set[int]:
    return set(x)


@app.cls()
class Scaler:
    factor: int = fabric.parameter(default=1)

    @fabric.method()
    def times(self, x: int) -> int:
        return self.factor * x


@app.function()
@fabric.batched(max_batch_size=8, wait_ms=20)
def in_batches(xs: list[int]) -> list[int]:
    return [x + 1 for x in xs]
