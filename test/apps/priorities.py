"""An app whose function runs one call at a time."""

from __future__ import annotations

import os
import time

import fabric_sdk as fabric

app = fabric.App("priorities", memory=128, network="none")


@app.function(max_containers=1)
def one_by_one(seconds: float = 0, gate: str | None = None) -> None:
    """`gate`: a file that has to be there first."""
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    time.sleep(seconds)
