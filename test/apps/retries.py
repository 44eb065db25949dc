"""An app whose functions are about when, and how often, an input runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import fabric_sdk as fabric

app = fabric.App("retries", memory=128, network="none")
ran: list[float] = []


class Weather(Exception):
    pass


@app.function(retries=fabric.Retries(max_retries=3, initial_delay=0.3, backoff_coefficient=2))
def backs_off() -> list[float]:
    """Fails until its fourth attempt; answers the pauses between its attempts."""
    ran.append(time.time())
    if len(ran) < 4:
        raise ValueError("not yet")
    return [after - before for before, after in zip(ran, ran[1:])]


@app.function(retries=fabric.Retries(max_retries=2, initial_delay=0, retry_for=Weather))
def picky(what: str) -> None:
    raise {"weather": Weather, "value": ValueError}[what](what)


@app.function()
def now() -> float:
    return time.time()


@app.function()
def calls_later() -> float:
    """Answers how much later a delayed call ran."""
    before = time.time()
    return now.with_call_options(delay=0.5).remote() - before


@app.function()
def echo(value: object) -> object:
    return value


@app.function(max_queue_age=0.5, max_containers=1)
def impatient(seconds: float = 0.0) -> str:
    time.sleep(seconds)
    return "in time"


@app.function(at_most_once=True)
def once(path: str, how: str = "raise") -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    if how == "raise":
        raise ValueError("no")
    if how == "crash":
        os._exit(9)
    time.sleep(600)


@app.function()
def stubborn() -> None:
    _ignore(time.sleep)


@app.function()
@fabric.concurrent(max_inputs=2)
def stubborn_thread() -> None:
    _ignore(time.sleep)


@app.function()
async def stubborn_coroutine() -> None:
    while True:
        try:
            await asyncio.sleep(0.05)
        except BaseException:
            pass


def _ignore(sleep: Callable[[float], None]) -> None:
    while True:
        try:
            sleep(0.05)
        except BaseException:
            pass


@app.function()
def fails_until(path: str) -> str:
    """Fails as long as the file is not there."""
    if not os.path.exists(path):
        raise RuntimeError("not there yet")
    return "there"
