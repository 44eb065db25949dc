"""A gang for which no node of a test's fabric is large enough."""

import fabric_sdk as fabric

app = fabric.App("gangs_too_large", memory=64)


@app.function(gang=4, cpu=0.6, gpu="A100:2")
def train() -> None:
    raise AssertionError("it is refused before it can run")
