"""What a trainer decides before anything is sent: its arguments, options, image, rows and batches."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import fabric_sdk as fabric
import pytest
from fabric_sdk import train
from fabric_sdk.train import _absent, _rows, _run, _submit
from fabric_sdk.train._configs import requirements
from fabric_sdk.train._data import DataIterator, share
from fabric_sdk.train.data_parallel_trainer import DataParallelTrainer
from fabric_sdk.train.torch import TorchConfig, TorchTrainer

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def loop(config):
    return config


def test_every_name_is_there():
    assert train.__all__ == sorted(train.__all__, key=lambda name: (not name.isupper(), name.islower(), name))
    for name in train.__all__:
        assert getattr(train, name) is not None
    assert fabric.init(address="auto") is None and fabric.is_initialized() and fabric.shutdown() is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: train.ScalingConfig(num_workers=(1, 4)), "keeps the count of a training fixed"),
        (lambda: train.ScalingConfig(num_workers=0), "a whole number from 1 on"),
        (lambda: train.ScalingConfig(num_workers=257), "at most 256"),
        (lambda: train.ScalingConfig(use_tpu=True), "fabric knows CPUs and GPUs"),
        (lambda: train.ScalingConfig(resources_per_worker={"neuron": 1}), "made of CPU, GPU, memory"),
        (lambda: train.ScalingConfig(use_gpu=True, resources_per_worker={"GPU": 0.5}), "a whole number of GPUs"),
        (lambda: train.ScalingConfig(resources_per_worker={"GPU": 1}), "True where resources_per_worker has GPU"),
        (lambda: train.CheckpointConfig(checkpoint_frequency=1), "deprecated in Ray Train"),
        (lambda: train.CheckpointConfig(num_to_keep=0), "num_to_keep is 0"),
        (lambda: train.FailureConfig(max_failures=-2), "from -1 to 100"),
        (lambda: train.FailureConfig(fail_fast=True), "deprecated in Ray Train"),
        (lambda: train.RunConfig(name="a b"), "name is 'a b'"),
        (lambda: train.RunConfig(verbose=1), "deprecated in Ray Train"),
        (lambda: train.RunConfig(worker_runtime_env={"conda": "x"}), "made of env_vars, image, pip, working_dir"),
        (lambda: train.ValidationConfig(loop), "ValidationConfig is not available"),
        (lambda: train.get_preemption_info(), "get_preemption_info is not available"),
        (lambda: TorchConfig(init_method="file"), 'must be "env" or "tcp"'),
        (lambda: TorchTrainer(loop, metadata={}), r"TorchTrainer\(metadata=...\) is not available"),
        (lambda: TorchTrainer(loop, scaling_config={"num_workers": 2}), "must be a fabric_sdk.train.ScalingConfig"),
        (lambda: TorchTrainer(lambda a, b: None), "needs a, b; it must take one argument"),
        (lambda: TorchTrainer(3), "must be a function"),
        (lambda: train.report({}), r"train.report\(\) works inside a function"),
        (lambda: train.get_context(), r"train.get_context\(\) works inside"),
    ],
)
def test_what_is_refused_says_the_rule(make, words):
    with pytest.raises(fabric.InvalidError, match=words):
        make()


def test_absent_names_cannot_be_subclassed_into_use():
    class Mine(_absent.UserCallback):
        pass

    with pytest.raises(fabric.InvalidError):
        Mine()


def test_options_of_one_rank():
    assert train.ScalingConfig().options() == {"cpu": 1, "memory": (1024, 16_777_216), "gpu": None}
    wanted = {"CPU": 4, "GPU": 2, "memory": 8 * 1024**3}
    sized = train.ScalingConfig(use_gpu=True, accelerator_type="A100", resources_per_worker=wanted)
    assert sized.options() == {"cpu": 4, "memory": 8192, "gpu": "A100:2"}
    assert train.ScalingConfig(use_gpu=True).options()["gpu"] == "any"


def test_several_ranks_share_a_container_unless_they_are_to_be_spread():
    wanted = {"CPU": 2, "GPU": 1, "memory": 1024**3}
    packed = train.ScalingConfig(num_workers=3, use_gpu=True, resources_per_worker=wanted)
    assert packed.options() == {"cpu": 6, "memory": 3072, "gpu": "any:3", "gang": 1, "procs": 3}
    spread = train.ScalingConfig(num_workers=3, use_gpu=True, resources_per_worker=wanted, placement_strategy="SPREAD")
    assert spread.options() == {"cpu": 2, "memory": 1024, "gpu": "any", "gang": 3, "procs": 1}
    assert train.ScalingConfig(num_workers=100).options()["gang"] == 100
    for config in (packed, spread):
        fabric.FunctionOptions(**_submit.function_options(TorchTrainer(loop, scaling_config=config)))


def test_the_function_that_trains():
    several = train.RunConfig(failure_config=train.FailureConfig(max_failures=-1))
    options = _submit.function_options(TorchTrainer(loop, run_config=several))
    assert options["retries"].max_retries == 100 and options["retries"].initial_delay == 0
    assert _submit.function_options(TorchTrainer(loop))["retries"] == 0
    fabric.FunctionOptions(**options)


def test_apps_of_long_names_differ():
    assert _submit.app_name("bert") == "train-bert"
    long = [_submit.app_name("x" * 60 + end) for end in ("abcd", "abce")]
    assert long[0] != long[1] and max(map(len, long)) <= 64


def test_the_image_is_the_callers_with_what_the_run_adds(monkeypatch):
    assert _submit.image_of(TorchTrainer(loop)) == fabric.Image.python(OWN)
    app = fabric.App("any", image=fabric.Image.python(OWN).apt_install("git"))
    monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
    env = {"pip": ["numpy"], "env_vars": {"A": "1"}}
    image = _submit.image_of(TorchTrainer(loop, run_config=train.RunConfig(worker_runtime_env=env)))
    assert [layer["kind"] for layer in image.layers] == ["apt", "pip", "env"]
    other = {"image": fabric.Image.python("3.8")}
    with pytest.raises(fabric.InvalidError, match=r"to an image with Python 3\.8"):
        _submit.image_of(TorchTrainer(loop, run_config=train.RunConfig(worker_runtime_env=other)))


def test_forms_of_pip(tmp_path):
    (tmp_path / "r.txt").write_text("numpy>=2  # arrays\n\n# nothing\ntorch\n")
    assert requirements(str(tmp_path / "r.txt")) == requirements({"packages": ["numpy>=2", "torch"]})
    with pytest.raises(fabric.InvalidError, match="pip is 3"):
        requirements(3)


def test_trainers_travel():
    trainer = TorchTrainer(loop, train_loop_config={"lr": 1}, datasets={"train": [1, 2]})
    again = pickle.loads(pickle.dumps(trainer))
    assert again.train_loop_config == {"lr": 1} and again.takes_config
    assert not DataParallelTrainer(lambda: None).takes_config
    assert not DataParallelTrainer(lambda config=None: None).takes_config


def test_failures_travel():
    error = train.WorkerGroupError("ValueError: x", {1: ValueError("x")})
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, train.TrainingFailedError) and str(again) == "the training failed: ValueError: x"
    assert str(again.worker_failures[1]) == "x"
    lost = fabric.PlatformError("gone", code="node_lost", fault="platform")
    assert pickle.loads(pickle.dumps(train.ControllerError(lost))).code == "node_lost"


def test_a_failure_names_its_rank_and_those_that_failed_after_it():
    details = {"rank": 1, "failures": [{"rank": 1, "message": "raised x"}, {"rank": 0, "message": "raised y"}]}
    raised = ValueError("x")
    raised.__cause__ = fabric.errors.RemoteTraceback("at line 1", details)
    failures = _submit._failed(raised).worker_failures
    assert failures[1] is raised and str(failures[0]).startswith("raised y") and list(failures) == [1, 0]
    dead = fabric.errors.from_body({"code": "rank_killed", "message": "rank 3 of 4 died", "details": {"rank": 3}})
    assert _submit._failed(dead).worker_failures == {3: dead}
    assert list(_submit._failed(ValueError("x")).worker_failures) == [0]


def test_ranks_get_as_many_rows_and_none_twice():
    rows = [{"item": n} for n in range(11)]
    shares = [share(rows, rank, 3) for rank in range(3)]
    assert [len(one) for one in shares] == [3, 3, 3]
    assert sorted(row["item"] for one in shares for row in one) == list(range(9))
    assert share(rows[:2], 0, 3) == []


class Frame:
    columns = ("a",)

    def to_dict(self, _how):
        return [{"a": 1}]


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ([1, 2], [{"item": 1}, {"item": 2}]),
        (["a text", "another"], [{"item": "a text"}, {"item": "another"}]),
        ([{"a": 1}], [{"a": 1}]),
        ({"a": [1, 2], "b": ["x", "y"]}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (Frame(), [{"a": 1}]),
        (range(2), [{"item": 0}, {"item": 1}]),
        (iter([3]), [{"item": 3}]),
    ],
)
def test_rows_of_data(source, rows):
    assert list(_rows.rows_of(source, "train")) == rows


def test_rows_of_files(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text('x,y,z\n1,1.5,"a, b"\n,2,c\n')
    (tmp_path / "b.jsonl").write_text('{"x": 1}\n\n7\n')
    (tmp_path / "c.txt").write_text("one\ntwo\n")
    csv = [{"x": 1, "y": 1.5, "z": "a, b"}, {"x": None, "y": 2.0, "z": "c"}]
    assert list(_rows.rows_of(tmp_path / "a.csv", "train")) == csv
    assert list(_rows.rows_of([str(tmp_path / "b.jsonl")], "train")) == [{"x": 1}, {"item": 7}]
    assert list(_rows.rows_of(str(tmp_path / "*.txt"), "train")) == [{"text": "one"}, {"text": "two"}]
    assert len(list(_rows.rows_of(tmp_path, "train"))) == 6
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert list(_rows.rows_of("a.csv", "train")) == csv
    for source, words in (("none.csv", "there is no file"), ("http://b/a.csv", "is a URL"), (object(), "neither rows")):
        with pytest.raises(fabric.InvalidError, match=words):
            list(_rows.rows_of(source, "train"))


def test_parquet_needs_pyarrow(tmp_path):
    path = tmp_path / "a.parquet"
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        path.write_text("")
        with pytest.raises(fabric.InvalidError, match="needs pyarrow"):
            list(_rows.rows_of(path, "train"))
        return
    pyarrow.parquet.write_table(pyarrow.table({"x": [1, 2]}), path)
    assert list(_rows.rows_of(path, "train")) == [{"x": 1}, {"x": 2}]


def plain(batches):
    return [{name: list(column) for name, column in batch.items()} for batch in batches]


def test_batches_can_be_read_again_and_shuffled():
    data = DataIterator([{"x": n} for n in range(5)])
    batches = data.iter_batches(batch_size=2)
    assert plain(batches) == plain(batches) == [{"x": [0, 1]}, {"x": [2, 3]}, {"x": [4]}]
    assert plain(data.iter_batches(batch_size=2, drop_last=True)) == [{"x": [0, 1]}, {"x": [2, 3]}]
    assert plain(data.iter_batches(batch_size=None)) == [{"x": [0, 1, 2, 3, 4]}]
    shuffled = data.iter_batches(batch_size=5, local_shuffle_buffer_size=5, local_shuffle_seed=1)
    first, second = plain(shuffled), plain(shuffled)
    assert first != second and sorted(first[0]["x"]) == list(range(5))
    with pytest.raises(fabric.InvalidError, match="batch_size is 0"):
        data.iter_batches(batch_size=0)
    with pytest.raises(fabric.InvalidError, match="batch_format"):
        data.iter_batches(batch_format="torch")


def test_notices_are_told_once(capsys):
    _run.notice("something new")
    _run.notice("something new")
    assert capsys.readouterr().err == "fabric: something new\n"


@pytest.mark.parametrize("file", sorted(Path(train.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_frameworks_are_imported_where_they_are_used(file):
    """The caller of fit() needs none of them."""
    top = [line for line in file.read_text().splitlines() if line.startswith(("import ", "from "))]
    found = [line for line in top if line.split()[1].split(".")[0] in ("torch", "numpy", "pandas", "pyarrow")]
    assert not found or file.stem in ("_tensors", "_loader")


def served(monkeypatch, manifests, rows):
    from fabric_sdk._client import checkpoints

    monkeypatch.setattr(checkpoints, "listed", lambda series: manifests)
    monkeypatch.setattr(checkpoints, "metrics", lambda series: rows)
    return train.Result("mine", [{"step": 3, "metrics": {"loss": 2.0}, "saved": True}])


def test_a_result_names_what_the_series_kept_worst_first(monkeypatch):
    losses = {1: 0.1, 2: 0.3, 3: 2.0, 4: "nan"}
    manifests = [{"step": step, "metrics": {"loss": loss}} for step, loss in losses.items()]
    manifests[-1]["keep"] = {"numToKeep": 2, "attribute": "loss", "order": "min"}
    result = served(monkeypatch, manifests, [])
    best = result.best_checkpoints
    assert [checkpoint.step for checkpoint, _metrics in best] == [4, 3, 2, 1] and best[-1][1] == {"loss": 0.1}
    assert result.checkpoint.step == 4 and result.checkpoint.series == "mine"
    assert result.metrics_dataframe is None
    assert [one.step for one, _metrics in served(monkeypatch, manifests[:3], []).best_checkpoints] == [1, 2, 3]
    assert served(monkeypatch, [], []).checkpoint is None


def test_a_result_has_every_row_as_it_was_reported_last(monkeypatch):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed here")
    rows = [{"step": step, "metrics": {"loss": loss}} for step, loss in ((0, 9.0), (2, 3.0), (1, 4.0), (2, 2.0))]
    frame = served(monkeypatch, [], rows).metrics_dataframe
    assert isinstance(frame, pandas.DataFrame) and frame.index.name == "step"
    assert list(frame.index) == [0, 1, 2] and list(frame["loss"]) == [9.0, 4.0, 2.0]


def test_rows_that_are_stored_behind_the_loop_count_once_they_are_stored():
    from concurrent.futures import Future

    run = _run.Run("mine", {}, {})
    stored: Future[int] = Future()
    failed: Future[int] = Future()
    with _run.running(run):
        _run.note(stored, {"loss": 1}, saved=True)
        _run.note(failed, {"loss": 2}, saved=True)
        _run.note(3, {"loss": 3}, saved=False)
    stored.set_result(1)
    failed.set_exception(ValueError("no room"))
    assert [(row["step"], row["metrics"]["loss"]) for row in run.settled()] == [(1, 1), (3, 3)]
