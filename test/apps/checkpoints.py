"""Trainings of the tests: what they keep, where they come from, and saves that run behind them."""

from __future__ import annotations

import os
import time
from typing import Any

import fabric_sdk as fabric
from fabric_sdk.train import ScalingConfig
from fabric_sdk.train.data_parallel_trainer import DataParallelTrainer

app = fabric.App("ckpts")
LOSSES = [0.5, 0.1, 0.9, 0.2, 0.8]


def folder(epoch: int, megabytes: int = 0) -> str:
    path = os.path.join(os.environ["TMPDIR"], f"epoch-{epoch}")
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "epoch.txt"), "w") as file:
        file.write(str(epoch))
    with open(os.path.join(path, "frozen.bin"), "wb") as file:
        file.write(b"frozen" * 50_000)
    with open(os.path.join(path, "weights.bin"), "wb") as file:
        for i in range(megabytes):
            file.write(os.urandom(1024) * 1024 if i == 0 else bytes([epoch]) * 1024 * 1024)
    return path


@app.function(timeout=120)
def train(series: str, keep: int | None = None) -> list[int]:
    """An epoch for each loss; every other report has metrics alone."""
    fabric.train.series(series, num_to_keep=keep, checkpoint_score_attribute="loss", checkpoint_score_order="min")
    before = fabric.train.get_checkpoint()
    steps = []
    for epoch, loss in enumerate(LOSSES):
        fabric.train.report({"batch_loss": loss * 2})
        saved = fabric.Checkpoint.from_directory(folder(epoch))
        saved.set_metadata({"epoch": epoch, "resumed": before is not None})
        steps.append(fabric.train.report({"loss": loss}, saved))
    return steps


@app.function()
def serve(reference: str) -> list[Any]:
    loaded = fabric.Checkpoint.load(reference)
    with loaded.as_directory() as path, open(os.path.join(path, "epoch.txt")) as file:
        return [loaded.step, file.read(), loaded.get_metadata()["epoch"]]


@app.function()
def given(checkpoint: fabric.Checkpoint) -> list[Any]:
    return [checkpoint.series, checkpoint.step, sorted(os.listdir(checkpoint.path))]


@app.function(timeout=300, retries=1)
def behind(series: str, megabytes: int = 1, give: bool = False, epochs: int = 3, fail: bool = False) -> list[float]:
    """How long each save stalled the training."""
    fabric.train.series(series)
    before = fabric.train.get_checkpoint()
    stalls = []
    for epoch in range((before.step or 0) + 1 if before else 0, epochs):
        saved = fabric.Checkpoint.from_directory(folder(epoch, megabytes))
        began = time.perf_counter()
        fabric.train.report_behind({"epoch": epoch}, saved, give=give)
        stalls.append(time.perf_counter() - began)
        if fail and before is None and epoch == 1:
            raise ValueError("the training broke")
    return stalls


@app.function(max_containers=1)
def warm(reference: str) -> list[Any]:
    """Serves what the name means by now; each checkpoint is brought once."""
    found = fabric.Checkpoint.find(reference)
    with open(os.path.join(found.path, "epoch.txt")) as file:
        return [found.step, file.read(), found.path]


@app.function(gang=1, procs=2, network="none")
def reads(source: str) -> list[int]:
    """Rows that rank 0 has of a dataset in the bucket."""

    def loop() -> list[int]:
        shard = fabric.train.get_dataset_shard()
        return [row["x"] for row in shard.iter_rows()] if shard is not None else []

    scaling = ScalingConfig(num_workers=2)
    rows: list[int] = DataParallelTrainer(loop, scaling_config=scaling, datasets={"train": source}).fit().return_value
    return rows
