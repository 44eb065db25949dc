"""A gang with GPUs: where none is, a declared inventory."""

import os

import fabric_sdk as fabric

app = fabric.App("gangs_gpus", cpu=0.1, memory=64)


@app.function(gang=2, gpu="A100:2")
def train() -> str:
    print(*(os.environ[name] for name in ("NODE_RANK", "LOCAL_RANK", "CUDA_VISIBLE_DEVICES")))
    return os.environ["WORLD_SIZE"]
