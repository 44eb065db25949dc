"""Batches, loaders and models in torch, in one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here")

from fabric_sdk import _channel, train  # noqa: E402
from fabric_sdk.train._data import DataIterator  # noqa: E402
from fabric_sdk.train.torch import TorchConfig, get_device, prepare_data_loader, prepare_model  # noqa: E402


class Channel:
    def attempt(self):
        return "inv_1", 1


@pytest.fixture(autouse=True)
def inside(monkeypatch):
    monkeypatch.setattr(_channel, "_channel", Channel())


def test_batches_are_tensors():
    data = DataIterator([{"x": float(n), "y": n} for n in range(3)])
    (batch,) = data.iter_torch_batches(dtypes={"x": torch.float32})
    assert batch["x"].dtype == torch.float32 and batch["y"].tolist() == [0, 1, 2]
    (made,) = data.iter_torch_batches(collate_fn=lambda columns: (torch.as_tensor(columns["y"]),))
    assert isinstance(made, tuple) and made[0].device == get_device()


def test_a_loader_is_shared_among_ranks_and_keeps_its_sampler(monkeypatch):
    loader = torch.utils.data.DataLoader(list(range(10)), batch_size=2, shuffle=True)
    alone = prepare_data_loader(loader)
    assert alone.sampler is loader.sampler and sorted(int(x) for b in alone for x in b) == list(range(10))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    mine = prepare_data_loader(loader)
    assert len(mine) == 3 and mine.batch_size == 2
    mine.sampler.set_epoch(0)
    first = [int(x) for batch in mine for x in batch]
    mine.sampler.set_epoch(1)
    assert len(first) == 5 and first != [int(x) for batch in mine for x in batch]


def test_one_rank_is_a_group():
    with TorchConfig().group(train.ScalingConfig()):
        assert torch.distributed.get_world_size() == 1
        model = prepare_model(torch.nn.Linear(2, 1))
        assert isinstance(model, torch.nn.Linear)
        total = torch.ones(1)
        torch.distributed.all_reduce(total)
        assert total.item() == 1
    assert not torch.distributed.is_initialized()


RANK = """
import os, torch
from fabric_sdk import _channel, train
from fabric_sdk.train.torch import TorchConfig, prepare_data_loader, prepare_model
class Channel:
    def attempt(self): return "inv_1", 1
_channel.install(Channel())
with TorchConfig(init_method=os.environ["METHOD"], timeout_s=60).group(train.ScalingConfig(num_workers=2)):
    torch.manual_seed(int(os.environ["RANK"]))
    model = prepare_model(torch.nn.Linear(1, 1))
    loader = prepare_data_loader(torch.utils.data.DataLoader([torch.ones(1) * n for n in range(8)], batch_size=2))
    seen = []
    for batch in loader:
        seen += batch.flatten().tolist()
        model(batch).sum().backward()
    print(type(model).__name__, sorted(seen), round(model.module.weight.grad.item(), 4))
"""


@pytest.mark.parametrize("method", ["env", "tcp"])
def test_two_ranks_share_data_and_gradients(method):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    base = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "METHOD": method}
    source = str(Path(train.__file__).parents[2])
    base["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK], env={**base, "RANK": str(n)}, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = [rank.communicate(timeout=120)[0].strip() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    # the mean of both ranks' sums: (0 + 2 + 4 + 6 + 1 + 3 + 5 + 7) / 2
    assert said == [f"DistributedDataParallel {[float(n), n + 2.0, n + 4.0, n + 6.0]} 14.0" for n in range(2)]


PREFLIGHT = """
import os, time, torch
from fabric_sdk import _channel, train
from fabric_sdk.train.torch import TorchConfig, preflight
class Channel:
    def attempt(self): return "inv_1", 1
_channel.install(Channel())
with TorchConfig(preflight=float(os.environ["SECONDS"])).group(train.ScalingConfig(num_workers=2)):
    preflight(60)
    preflight(60)
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    print(total.item())
"""


def ranks_of(world, present, **env):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    source = str(Path(train.__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    base = {**os.environ, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": path}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ranks = [
        subprocess.Popen([sys.executable, "-c", PREFLIGHT], env={**base, **env, "RANK": str(n)}, **pipes)
        for n in present
    ]
    said = [rank.communicate(timeout=120) for rank in ranks]
    return [rank.returncode for rank in ranks], said


def test_a_preflight_lets_ranks_that_reach_each_other_train():
    codes, said = ranks_of("2", range(2), SECONDS="60")
    assert codes == [0, 0], said
    assert [out.strip() for out, _err in said] == ["2.0", "2.0"]


def test_a_preflight_names_who_is_missing_and_which_interface_was_tried():
    codes, said = ranks_of("3", range(2), SECONDS="2", GLOO_SOCKET_IFNAME="lo")
    assert codes == [1, 1]
    assert all("PreflightError: rank " in err for _out, err in said)  # who looks last may have lost rank 0's store
    assert "PreflightError: rank 2 of 3 did not arrive at 127.0.0.1:" in said[0][1]
    assert "rank 0 (lo 127.0.0.1), rank 1 (lo 127.0.0.1)" in said[0][1]
    codes, said = ranks_of("2", range(2), SECONDS="2", GLOO_SOCKET_IFNAME="none0")
    for n, (_out, err) in enumerate(said):
        assert f"PreflightError: rank {n} of 2 (none0 127.0.0.1) could not connect over gloo" in err, err


class Saving(Channel):
    def __init__(self):
        self.saved = []

    def report(self, metrics, directory, step):
        files = sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if path.is_file())
        self.saved.append((metrics, files))
        return len(self.saved) - 1


def test_transformers_report_what_they_save(monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers are not installed here")
    pytest.importorskip("accelerate", reason="accelerate is not installed here")
    from fabric_sdk.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer

    channel = Saving()
    monkeypatch.setattr(_channel, "_channel", channel)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    rows = DataIterator([{"input_ids": [1, 2, 3], "labels": n % 2} for n in range(8)])
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=4, save_strategy="steps", save_steps=2, logging_steps=1, report_to=[], use_cpu=True
    )
    trainer = transformers.Trainer(
        transformers.BertForSequenceClassification(config),
        arguments,
        train_dataset=rows.iter_torch_batches(batch_size=2),
        callbacks=[RayTrainReportCallback()],
    )
    prepare_trainer(trainer).train()
    assert [metrics["step"] for metrics, _files in channel.saved] == [2, 4]
    assert all("loss" in metrics and "checkpoint/model.safetensors" in files for metrics, files in channel.saved)


def test_lightning_reports_every_epoch(monkeypatch, tmp_path):
    lightning = pytest.importorskip("lightning", reason="lightning is not installed here")
    from fabric_sdk.train import lightning as ours

    channel = Saving()
    monkeypatch.setattr(_channel, "_channel", channel)

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, _index):
            loss = self.layer(batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with TorchConfig().group(train.ScalingConfig()):
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            devices="auto",
            strategy=ours.RayDDPStrategy(),
            plugins=[ours.RayLightningEnvironment()],
            callbacks=[ours.RayTrainReportCallback()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            logger=False,
            default_root_dir=str(tmp_path),
        )
        data = torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2)
        ours.prepare_trainer(trainer).fit(Model(), data)
    assert [(metrics["epoch"], metrics["step"], files) for metrics, files in channel.saved] == [
        (0, 2, ["checkpoint.ckpt"]),
        (1, 4, ["checkpoint.ckpt"]),
    ]
    with pytest.raises(RuntimeError, match="the strategy is a"):
        ours.prepare_trainer(lightning.Trainer(accelerator="cpu", logger=False))
