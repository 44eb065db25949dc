"""An app whose functions have limits."""

from __future__ import annotations

import time

import fabric_sdk as fabric

app = fabric.App("limits", memory=128, cpu=0.1, network="none")


@app.function(key_concurrency=2)
@fabric.concurrent(max_inputs=8)
def keyed(seconds: float = 0.1) -> list[float]:
    began = time.time()
    time.sleep(seconds)
    return [began, time.time()]


@app.function(rate_limit="5/s")
@fabric.concurrent(max_inputs=8)
def rated(n: int = 0) -> float:
    return time.time()
