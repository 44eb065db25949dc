"""A small BERT trained by two ranks, the same under fabric, torchrun and Ray: what `npm run bench -- train` times.

As a script, `small_bert.py torchrun|ray FOLDER FAULT`, it is what the others run; fabric calls `train`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

EPOCHS, ROWS, BATCH, LENGTH, WORDS = 2, 512, 16, 64, 2000
#: The step of epoch 2 at which rank 1 fails.
FAULT_STEP = 4


def tell(event: str, detail: object = "") -> None:
    """On CLOCK_MONOTONIC, which all containers of a machine share."""
    print(f"BENCH {event} {time.monotonic()} {detail}", flush=True)


def loop(fault: str, is_first: bool, load: Callable[[], Path | None], save: Callable[[Path, float], None]) -> float:
    """Trains in a process group that stands; the loss of the last epoch on this rank."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
    from transformers import BertConfig, BertForSequenceClassification

    rank = distributed.get_rank()
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, **sizes))
    words = torch.randint(WORDS, (ROWS, LENGTH))
    data = TensorDataset(words, (words[:, 0] < WORDS // 2).long())
    sampler = DistributedSampler(data, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    begin = 0
    saved = load()
    if saved is not None:
        state = torch.load(saved / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["epoch"] + 1
    parallel = DistributedDataParallel(model)
    loss = torch.tensor(0.0)
    for epoch in range(begin, EPOCHS):
        sampler.set_epoch(epoch)
        torch.manual_seed(epoch)  # dropout goes on as it would have without the fault
        for step, (inputs, labels) in enumerate(DataLoader(data, BATCH, sampler=sampler)):
            if fault and is_first and rank == 1 and (epoch, step) == (1, FAULT_STEP):
                tell("fault")
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ValueError("no such digit")
            loss = parallel(input_ids=inputs, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if rank == 0 and step == 0 and epoch == begin:
                tell("step", epoch)
        with tempfile.TemporaryDirectory() as folder:
            if rank == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
                torch.save(state, Path(folder) / "state.pt")
            save(Path(folder), float(loss))
    return float(loss)


def script(folder: Path, fault: str) -> None:
    """What torchrun starts on each rank: checkpoints are files in a folder."""
    from torch import distributed

    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    if rank == 0:
        tell("running")

    def save(made: Path, _loss: float) -> None:
        if rank == 0:
            shutil.copyfile(made / "state.pt", folder / "new")
            os.replace(folder / "new", folder / "state.pt")
        distributed.barrier()

    def load() -> Path | None:
        return folder if (folder / "state.pt").exists() else None

    loss = loop(fault, os.environ["TORCHELASTIC_RESTART_COUNT"] == "0", load, save)
    if rank == 0:
        tell("returns", loss)
    distributed.destroy_process_group()


def under_ray(folder: Path, fault: str) -> None:
    import ray.train
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def worker() -> None:
        rank = ray.train.get_context().get_world_rank()
        if rank == 0:
            tell("running")
        resumed = ray.train.get_checkpoint()
        marker = folder / f"rank-{rank}-began"
        is_first = not marker.exists()  # a checkpoint may be lost, since report returns before it is stored
        marker.touch()

        def load() -> Path | None:
            return None if resumed is None else Path(resumed.to_directory())

        def save(made: Path, loss: float) -> None:
            checkpoint = ray.train.Checkpoint.from_directory(str(made)) if rank == 0 else None
            ray.train.report({"loss": loss}, checkpoint=checkpoint)

        loss = loop(fault, is_first, load, save)
        if rank == 0:
            tell("returns", loss)

    config = RunConfig(name="bench", storage_path=str(folder), failure_config=FailureConfig(max_failures=3))
    TorchTrainer(worker, scaling_config=ScalingConfig(num_workers=2), run_config=config).fit()


if __name__ == "__main__":
    tell("begins")
    {"torchrun": script, "ray": under_ray}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
else:
    import fabric_sdk as fabric

    packages = ["transformers>=4.57,<5", *os.environ.get("BENCH_TRAIN_PACKAGES", "").split()]
    # Without OpenBLAS Debian's torch multiplies matrices many times slower.
    torch = ["python3-torch", "libopenblas0"]
    image = fabric.Image.python("3.13").apt_install(*torch).pip_install(*packages).env({"USE_LIBUV": "0"})
    app = fabric.App("small_bert", image=image, memory=1024)

    @app.function(
        gang=2,
        retries=fabric.Retries(max_retries=3, initial_delay=0),
        timeout=600,
        scaledown_window=600,
        preload=["torch", "torch.distributed", "transformers.models.bert.modeling_bert"],
    )
    def train(name: str, fault: str = "") -> float:
        from torch import distributed

        fabric.train.series(name)
        rank = int(os.environ["RANK"])
        if rank == 0:
            tell("running")
        distributed.init_process_group("gloo")
        resumed = fabric.train.get_checkpoint()

        def load() -> Path | None:
            return None if resumed is None else Path(resumed.path)

        def save(made: Path, loss: float) -> None:
            checkpoint = fabric.Checkpoint.from_directory(made) if rank == 0 else None
            fabric.train.report({"loss": loss}, checkpoint=checkpoint)

        loss = loop(fault, os.environ["TORCHELASTIC_RESTART_COUNT"] == "0", load, save)
        distributed.destroy_process_group()
        if rank == 0:
            tell("returns", loss)
        return loss
