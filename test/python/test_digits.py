"""The training example in a real shim, with the runner's side of checkpoints kept in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runner import Runner

pytest.importorskip("sklearn", reason="the training example needs scikit-learn")

EXAMPLE = Path(__file__).parents[2] / "sdk" / "examples" / "digits.py"


class Store:
    """Answers operations as a runner does: a series of folders, and which of them an invocation saved."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.saved: list[dict] = []

    def answer(self, r: Runner, request: dict, *, fail_at: int | None = None) -> None:
        operation = request["operation"]
        if operation["op"] == "series":
            r.reply(request, {"series": operation["name"], "next_step": len(self.saved)})
        elif operation["op"] == "report":
            step = len(self.saved)
            shutil.copytree(r.scratch / operation["directory"], self.folder / str(step))
            self.saved.append({"step": step, "id": request["id"], "metrics": operation["metrics"]})
            r.reply(request, {"step": step})
        else:
            self.restore(r, request)

    def restore(self, r: Runner, request: dict) -> None:
        operation = request["operation"]
        metric = operation.get("metric")
        found = [one for one in self.saved if metric or one["id"] == request["id"]]
        if not found:
            r.reply(request, None)
            return
        best = max(found, key=lambda one: one["metrics"][metric]) if metric else found[-1]
        files = sorted((self.folder / str(best["step"])).iterdir())
        described = [{"path": f.name, "size": f.stat().st_size, "stream": 2 * i} for i, f in enumerate(files, 1)]
        r.reply(request, {"series": "digits", "step": best["step"], "metrics": best["metrics"], "files": described})
        for file, told in zip(files, described):
            r.send_stream(told["stream"], file.read_bytes())

    def run(self, r: Runner, *, stop_after: int | None = None, **arguments):
        """The call's result; None when the container was killed after so many reports."""
        r.input(id=arguments.pop("id", None), **arguments)
        reports = 0
        while True:
            header, body = r.expect("request", "result", "error", "stream.credit")
            if header["type"] == "request":
                self.answer(r, header)
                reports += header["operation"]["op"] == "report"
                if reports == stop_after:
                    r.process.kill()
                    return None
            elif header["type"] != "stream.credit":
                r.ack(header)
                assert header["type"] == "result", header
                return json.loads(body)


def example(runner, fn: str) -> Runner:
    r = runner(boot=False, entry={"module": "digits", "qualname": fn})
    shutil.copy(EXAMPLE, r.bundle / "digits.py")
    r.boot().ready()
    return r


def test_training_resumes_after_a_crash_and_predicts_with_the_best(runner, tmp_path):
    store = Store(tmp_path)
    assert store.run(example(runner, "train"), id="inv_train", epochs=5, stop_after=2) is None
    assert [one["metrics"]["epoch"] for one in store.saved] == [1, 2]

    retried = example(runner, "train")
    result = store.run(retried, id="inv_train", epochs=5)
    assert [one["metrics"]["epoch"] for one in store.saved] == [1, 2, 3, 4, 5]
    assert "resuming after epoch 2" in retried.printed()
    assert result["step"] == 4 and result["metrics"]["accuracy"] > 0.9

    again = store.run(example(runner, "train"), id="inv_other", epochs=2)
    assert again["step"] == 6 and again["metrics"]["epoch"] == 2

    best = max(store.saved, key=lambda one: one["metrics"]["accuracy"])
    predict = example(runner, "predict")
    for index, digit in ((0, 0), (3, 3)):
        told = store.run(predict, index=index)
        assert told["digit"] == digit and told["checkpoint"] == best["step"] and 0 < told["confidence"] <= 1
    assert store.run(predict, pixels=[[0.0] * 8] * 8)["digit"] in range(10)
