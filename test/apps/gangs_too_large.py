"""A gang for which the nodes of a test's fabric are not large enough, not even together."""

import fabric_sdk as fabric

app = fabric.App("gangs_too_large", memory=64)


@app.function(gang=5, cpu=0.6, gpu="A100:2")
def train() -> None:
    raise AssertionError("it is refused before it can run")
