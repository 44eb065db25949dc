"""Trainers inside a container: in place, by rank, again after a failure; refused while modules are imported."""

from __future__ import annotations

import json

HEAD = "import fabric_sdk as fabric\nfrom fabric_sdk import train\nfrom fabric_sdk.train.torch import TorchTrainer\n"
LOOP = (
    HEAD
    + """
tries = []
def loop(config):
    tries.append(1)
    rows = [row["item"] for row in train.get_dataset_shard().iter_rows()]
    context = train.get_context()
    train.report({"sum": sum(rows)})
    if len(tries) <= config["failures"]: raise ValueError("the first one")
    return [context.get_experiment_name(), context.get_world_size(), context.get_world_rank()]
def f(failures=0, max_failures=0, workers=1):
    run = train.RunConfig(name="mine", failure_config=train.FailureConfig(max_failures=max_failures))
    result = TorchTrainer(loop, train_loop_config={"failures": failures}, run_config=run,
        datasets={"train": [1, 2, 3]}, scaling_config=train.ScalingConfig(num_workers=workers)).fit()
    return [result.return_value, result.metrics, result.path, result.error]
"""
)


def answer(r):
    """Answers series and reports until the call ends."""
    asked = []
    while True:
        header, body = r.expect("request", "result", "error")
        if header["type"] != "request":
            r.ack(header)
            return asked, header, body
        operation = header["operation"]
        asked.append(operation["op"])
        value = {"series": operation.get("name"), "next_step": 0} if operation["op"] == "series" else {"step": 7}
        r.reply(header, value)


def test_fit_runs_in_place(runner):
    r = runner(LOOP)
    r.input()
    asked, header, body = answer(r)
    assert header["type"] == "result", header
    assert asked == ["series", "report"]
    assert json.loads(body) == [["mine", 1, 0], {"sum": 6}, "checkpoints/mine", None]


def test_it_trains_again_as_often_as_it_may(runner):
    r = runner(LOOP)
    r.input(failures=1, max_failures=1)
    asked, header, _body = answer(r)
    assert header["type"] == "result" and asked == ["series", "report"] * 2
    assert "the first one" in r.printed("stderr") and "starts again" in r.printed("stderr")


def test_a_failure_is_told_by_rank(runner):
    code = "def g():\n    try: f(failures=9)\n    except train.WorkerGroupError as e: return repr(e.worker_failures)\n"
    r = runner(LOOP + code, entry={"module": "user", "qualname": "g"})
    r.input()
    _asked, header, body = answer(r)
    assert header["type"] == "result" and json.loads(body) == "{0: ValueError('the first one')}"


def test_more_ranks_than_there_are_is_refused(runner):
    r = runner(LOOP)
    r.input(workers=2)
    asked, header, _body = answer(r)
    assert header["type"] == "error"
    assert "num_workers is 2, but this function has 1 rank" in header["error"]["message"]
    assert asked == []


def test_ranks_come_from_the_environment(runner):
    code = HEAD + (
        "def f():\n  c = train.get_context()\n  return [c.get_world_rank(), c.get_world_size(), c.get_local_rank(),"
        " c.get_local_world_size(), c.get_node_rank(), c.get_experiment_name() == c.invocation_id]\n"
    )
    r = runner(code, boot=False)
    r.boot(env={"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}).ready()
    assert r.call() == [3, 4, 1, 2, 1, True]


def test_fit_is_refused_while_a_module_is_imported(runner):
    r = runner(HEAD + "def loop(): pass\nTorchTrainer(loop).fit()\ndef f(): pass\n", boot=False)
    r.boot()
    header, _body = r.expect("import_failed")
    assert "fit() was called while a module is imported" in header["message"]


def test_a_trainer_says_what_its_series_keeps_and_saves_behind_the_loop(runner):
    code = HEAD + (
        "import os, tempfile\n"
        "def loop():\n"
        "  folder = tempfile.mkdtemp()\n"
        "  open(os.path.join(folder, 'a'), 'w').close()\n"
        "  saved = train.report({'loss': 1}, train.Checkpoint.from_directory(folder),"
        " checkpoint_upload_mode=train.CheckpointUploadMode.ASYNC)\n"
        "  return [os.path.exists(folder), saved.result()]\n"
        "def f():\n"
        "  kept = train.CheckpointConfig(2, 'loss', 'min')\n"
        "  run = train.RunConfig(checkpoint_config=kept, metrics_per_rank=True)\n"
        "  result = TorchTrainer(loop, run_config=run).fit()\n"
        "  return [result.return_value, result.metrics]\n"
    )
    r = runner(code)
    r.input()
    header, _body = r.expect("request")
    operation = header["operation"]
    assert operation["behind"] is True
    assert operation["keep"] == {"num_to_keep": 2, "attribute": "loss", "order": "min"}
    assert operation["per_rank"] is True
    r.reply(header, {"step": 7})
    header, body = r.expect("result")
    assert json.loads(body) == [[False, 7], {"loss": 1}]


def test_a_preflight_that_fails_is_fabrics_fault_and_costs_no_retry(runner):
    code = HEAD + (
        "from contextlib import contextmanager\n"
        "from fabric_sdk.errors import PreflightError\n"
        "class Broken(train.BackendConfig):\n"
        "  @contextmanager\n"
        "  def group(self, scaling):\n"
        "    print('tried', flush=True)\n"
        "    raise PreflightError('rank 1 of 2 did not arrive')\n"
        "    yield\n"
        "from fabric_sdk.train.data_parallel_trainer import DataParallelTrainer\n"
        "def f():\n"
        "  run = train.RunConfig(failure_config=train.FailureConfig(max_failures=3))\n"
        "  return DataParallelTrainer(lambda: 1, backend_config=Broken(), run_config=run).fit()\n"
    )
    r = runner(code)
    r.input()
    assert r.expect("log")[1] == b"tried\n"
    error = r.expect("error")[0]["error"]
    assert (error["code"], error["message"]) == ("preflight_failed", "rank 1 of 2 did not arrive")
