"""Classes, batches and concurrent inputs, written as for Modal: the import line is all that differs."""

import asyncio
import os
import time

import fabric_sdk as modal

image = modal.Image.python("3.11")
app = modal.App("classes", image=image, memory=64, network="none")


@app.cls(scaledown_window=2, max_containers=3)
class Model:
    """A model of some size."""

    size: str = modal.parameter(default="small")
    layers: int = modal.parameter(default=1)

    @modal.enter()
    def load(self):
        self.entered = getattr(self, "entered", 0) + 1
        print(f"loading {self.size}")
        time.sleep(0.2)

    @modal.exit()
    def leave(self):
        print(f"leaving {self.size}")

    @modal.method()
    def predict(self, x: int) -> dict:
        return {"size": self.size, "layers": self.layers, "x": x, "entered": self.entered, "pid": os.getpid()}

    @modal.method()
    def twice(self, x: int) -> int:
        print(f"twice {x}")
        return 2 * self.same.local(x)

    @modal.method()
    def same(self, x: int) -> int:
        return x

    @modal.method()
    def nap(self, seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    @modal.method()
    def elsewhere(self, x: int) -> list:
        return [self.size, self.predict.remote(x)["size"], Needs(name="me").greet.remote()]

    @modal.method()
    def fails(self):
        raise KeyError("predicted")


@app.cls()
class Needs:
    name: str = modal.parameter()

    @modal.method()
    async def greet(self, greeting: str = "hello") -> str:
        return f"{greeting} {self.name}"


@app.cls(retries=0)
class Broken:
    @modal.enter()
    def load(self):
        raise FileNotFoundError("weights.bin")

    @modal.method()
    def predict(self):
        return 1


@app.cls()
class Totals:
    @modal.batched(max_batch_size=4, wait_ms=1000)
    def add(self, a: list, b: list) -> list:
        return [[x + y, len(a)] for x, y in zip(a, b)]


@app.function(retries=1)
@modal.batched(max_batch_size=3, wait_ms=400)
async def squares(x: list) -> list:
    if -1 in x:
        raise ValueError("no negatives")
    return [[one * one, len(x)] for one in x]


@app.function(max_containers=1)
@modal.concurrent(max_inputs=16, target_inputs=8)
def together(x: int, seconds: float = 0.5) -> list:
    print(f"input {x} begins")
    if x == 13:
        raise ValueError("unlucky")
    time.sleep(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
    print(f"input {x} ends")
    return [x, os.getpid()]


@app.function(max_containers=1, timeout=2)
@modal.concurrent(max_inputs=16)
async def together_async(x: int, seconds: float = 0.5) -> list:
    print(f"input {x} begins")
    await asyncio.sleep(seconds)
    print(f"input {x} ends")
    return [x, os.getpid()]


@app.function(max_containers=4, scaledown_window=30)
@modal.concurrent(max_inputs=4, target_inputs=2)
def spread(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
