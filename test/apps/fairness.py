"""One function that keeps a small node full, and others that are called beside it."""

import time

import fabric_sdk as fabric

app = fabric.App("fairness", image=fabric.Image.python("3.11"), memory=64, network="none")


@app.function()
def sleeps(ms: float = 20) -> None:
    time.sleep(ms / 1000)


@app.function()
def computes(ms: float = 20) -> None:
    end = time.process_time() + ms / 1000
    while time.process_time() < end:
        pass


@app.function()
def warm() -> int:
    return 1


@app.function(gang=3, cpu=0.5)
def wide() -> int:
    return 3


@app.cls(scaledown_window=1)
class Cold:
    """Every value of `n` has containers of its own: the first call of one finds none."""

    n: int = fabric.parameter()

    @fabric.method()
    def answer(self) -> int:
        return self.n
