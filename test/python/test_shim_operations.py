"""fabric.train and Checkpoint inside a container."""

from __future__ import annotations

import os

REPORT = """
import os, fabric_sdk as fabric
def f(value=0.5):
    os.makedirs('out/sub', exist_ok=True)
    open('out/model.bin', 'wb').write(b'weights'); open('out/sub/x', 'w').write('')
    return fabric.train.report({'loss': value}, fabric.Checkpoint.from_directory('out'))
"""


def test_a_report_hands_over_a_copy_and_removes_it_after_the_answer(runner):
    r = runner(REPORT)
    name = r.input()
    request = r.request()
    operation = request["operation"]
    assert (request["id"], request["generation"]) == (name["id"], 1)
    assert operation["op"] == "report" and operation["metrics"] == {"loss": 0.5} and "step" not in operation
    folder = r.scratch / operation["directory"]
    assert (folder / "model.bin").read_bytes() == b"weights" and (folder / "sub" / "x").exists()
    assert (folder / "model.bin").stat().st_nlink == 1
    r.reply(request, {"step": 4})
    assert r.outcome()[1] == b"4"
    assert not folder.exists() and (r.scratch / "out" / "model.bin").exists()


def test_metrics_alone_and_what_json_lacks(runner):
    r = runner(
        "import fabric_sdk as fabric\n"
        "class Scalar:\n  def item(self): return 2.5\n"
        "metrics = {'a': float('nan'), 'b': True, 'c': Scalar(), 'd': None, 'e': 'x'}\n"
        "def f(): return fabric.train.report(metrics, step=7)"
    )
    r.input()
    request = r.request()
    assert request["operation"] == {
        "op": "report",
        "metrics": {"a": "nan", "b": True, "c": 2.5, "d": None, "e": "x"},
        "step": 7,
    }
    r.reply(request, {"step": 7})
    assert r.outcome()[1] == b"7"


def test_a_refusal_is_raised_with_its_code(runner):
    r = runner(REPORT)
    r.input()
    r.reply(r.request(), error={"code": "checkpoint_exists", "message": "step 3 is committed"})
    error = r.outcome()[0]["error"]
    assert error["type"] == "fabric_sdk.errors.ConflictError" and "checkpoint_exists" in error["message"]


def test_series_and_context(runner):
    r = runner(
        "import fabric_sdk as fabric\n"
        "def f():\n  s = fabric.train.series('digits', resume=False); c = fabric.train.get_context()\n"
        "  return [s.name, s.next_step, c.invocation_id, c.generation, c.get_world_size()]"
    )
    name = r.input()
    request = r.request()
    assert request["operation"] == {"op": "series", "name": "digits", "resume": False}
    r.reply(request, {"series": "digits", "next_step": 6})
    assert r.outcome()[1] == f'["digits",6,"{name["id"]}",1,1]'.encode()


BEHIND = """
import os, time, fabric_sdk as fabric
def save(**options):
    os.makedirs('out', exist_ok=True)
    open('out/model.bin', 'wb').write(b'weights')
    return fabric.train.report_behind({'loss': 1}, fabric.Checkpoint.from_directory('out'), **options)
def f(what='save'):
    fabric.train.series('s', num_to_keep=2, checkpoint_score_attribute='loss', checkpoint_score_order='min')
    saved = save(give=what == 'give')
    if what == 'save': open('out/model.bin', 'wb').write(b'changed')
    if what == 'raise': raise ValueError('later')
    if what == 'next': return [fabric.train.report({'a': 1}), fabric.train.report({'a': 2})]
    if what == 'again': save()
    return [saved.done(), saved.cancel(), os.path.exists('out')]
"""


def begin_behind(r, what):
    r.input(what=what)
    r.reply(r.request(), {"series": "s", "next_step": 0})
    request = r.request()
    assert request["operation"]["behind"] is True
    assert request["operation"]["keep"] == {"num_to_keep": 2, "attribute": "loss", "order": "min"}
    return request, r.scratch / request["operation"]["directory"]


def test_a_save_behind_hands_over_a_copy_and_the_end_waits_for_it(runner):
    r = runner(BEHIND)
    request, folder = begin_behind(r, "save")
    assert (folder / "model.bin").read_bytes() == b"weights"
    r.reply(request, {"step": 0})
    assert r.outcome()[1] == b"[false,false,true]"
    assert not folder.exists()


def test_a_rank_without_files_does_not_wait_for_those_of_the_others(runner):
    r = runner(
        "import fabric_sdk as fabric\n"
        "def f():\n  saved = fabric.train.report_behind({'loss': 1}, None)\n  return [saved.done(), saved.result()]"
    )
    r.input()
    request = r.request()
    assert request["operation"] == {"op": "report", "metrics": {"loss": 1}, "behind": True}
    r.reply(request, {"step": 3})
    assert r.outcome()[1] == b"[false,3]"


def test_files_that_are_given_are_not_copied(runner):
    r = runner(BEHIND)
    request, folder = begin_behind(r, "give")
    assert (folder / "model.bin").read_bytes() == b"weights"
    r.reply(request, {"step": 0})
    assert r.outcome()[1] == b"[false,false,false]"


def test_a_save_behind_that_fails_fails_the_function_at_its_end(runner):
    r = runner(BEHIND)
    request, folder = begin_behind(r, "save")
    r.reply(request, error={"code": "checkpoint_exists", "message": "step 3 is committed"})
    assert "checkpoint_exists" in r.outcome()[0]["error"]["message"]
    assert not folder.exists()


def test_a_function_that_raises_is_told_of_when_what_it_saved_is_stored(runner):
    r = runner(BEHIND)
    request, folder = begin_behind(r, "raise")
    assert folder.exists()
    r.reply(request, {"step": 0})
    assert "later" in r.outcome()[0]["error"]["message"]
    assert not folder.exists()


def test_metrics_are_reported_while_a_checkpoint_is_saved(runner):
    r = runner(BEHIND)
    request, _ = begin_behind(r, "next")
    first = r.request()
    assert "directory" not in first["operation"] and first["operation"]["keep"]
    r.reply(first, {"step": 1})
    second = r.request()
    r.reply(second, {"step": 2})
    r.reply(request, {"step": 0})
    assert r.outcome()[1] == b"[1,2]"


def test_the_next_save_waits_for_the_one_behind_and_raises_what_became_of_it(runner):
    r = runner(BEHIND)
    request, _ = begin_behind(r, "again")
    r.reply(request, error={"code": "storage_unavailable", "message": "S3 is away"})
    assert "S3 is away" in r.outcome()[0]["error"]["message"]
    request, _ = begin_behind(r, "again")
    r.reply(request, {"step": 0})
    again = r.request()
    r.reply(again, {"step": 1})
    assert r.outcome()[1] == b"[true,false,true]"


def test_a_saved_checkpoint_travels_by_its_name(runner):
    import json
    import pickle

    code = RESTORE + (
        "def f(given=None):\n"
        "    if given is None: return fabric.train.get_checkpoint()\n"
        "    return [given.series, given.step, sorted(os.listdir(given.path)), given.get_metadata()]\n"
    )
    r = runner(code)
    r.input(accept_pickle=True)
    files(r, r.request(), {"a": 4})
    header, body = next_outcome(r)
    assert header["encoding"] == "pickle"
    given = pickle.loads(body)
    assert (given.series, given.step, dict(given.metrics)) == ("s", 3, {"acc": 1})
    r.input(given, pickled=True)
    request = r.request()
    assert request["operation"] == {"op": "restore", "series": "s", "step": 3}
    files(r, request, {"a": 4})
    assert json.loads(next_outcome(r)[1]) == ["s", 3, ["a"], {}]


RESTORE = """
import os, fabric_sdk as fabric
def f(**options):
    c = fabric.Checkpoint.load(**options) if options else fabric.train.get_checkpoint()
    if c is None: return None
    with c.as_directory() as folder:
        files = {os.path.relpath(os.path.join(d, n), folder): os.path.getsize(os.path.join(d, n))
                 for d, _, names in os.walk(folder) for n in names}
    return [c.series, c.step, dict(c.metrics), files]
"""


def files(r, request, sizes, **value):
    described = [{"path": path, "size": size, "stream": 2 * i} for i, (path, size) in enumerate(sizes.items(), 1)]
    r.reply(request, {"series": "s", "step": 3, "metrics": {"acc": 1}, "files": described, **value})
    for file in described:
        r.send_stream(file["stream"], b"m" * file["size"])


def next_outcome(r):
    while True:
        header, body = r.expect("result", "error", "stream.credit", "stream.cancel")
        if header["type"] in ("result", "error"):
            r.ack(header)
            return header, body


def test_a_checkpoint_is_brought_by_streams(runner):
    import json

    r = runner(RESTORE)
    r.input()
    request = r.request()
    assert request["operation"] == {"op": "restore"}
    sizes = {"model.bin": 2_500_000, "sub/empty": 0, "sub/x": 10}
    files(r, request, sizes)
    assert json.loads(next_outcome(r)[1]) == ["s", 3, {"acc": 1}, sizes]


def test_loading_with_every_input_does_not_fill_the_disk(runner):
    r = runner(RESTORE)
    for _ in range(8):
        r.input()
        files(r, r.request(), {"a": 4})
        assert next_outcome(r)[0]["type"] == "result"
    assert len(os.listdir(r.scratch / ".fabric" / "restored")) == 4


def test_the_best_checkpoint_is_asked_for_by_metric(runner):
    r = runner(RESTORE)
    r.input(series="s", best="acc")
    request = r.request()
    assert request["operation"] == {"op": "restore", "series": "s", "metric": "acc", "order": "max"}
    r.reply(request, None)
    error = r.outcome()[0]["error"]
    assert error["type"] == "fabric_sdk.errors.NotFoundError" and "checkpoint_not_found" in error["message"]


def test_a_tag_is_asked_for_by_its_name(runner):
    r = runner(RESTORE)
    r.input(series="bert-imdb:production")
    request = r.request()
    assert request["operation"] == {"op": "restore", "series": "bert-imdb", "at": "production"}
    files(r, request, {"a": 4})
    assert next_outcome(r)[0]["type"] == "result"


def test_a_name_is_looked_up_without_its_files_and_told_again_while_it_is_young(runner):
    r = runner(
        "import fabric_sdk as fabric\nheld = []\n"
        "def f(**options):\n"
        "  found = fabric.Checkpoint.find('bert-imdb:production', **options)\n"
        "  held.append(found)\n"
        "  return [found.step, found is held[0]]"
    )
    for step, is_first in ((3, b"true"), (3, b"true"), (4, b"false")):
        r.input()
        request = r.request()
        assert request["operation"] == {"op": "restore", "series": "bert-imdb", "at": "production", "look": True}
        r.reply(request, {"series": "bert-imdb", "step": step, "metrics": {}, "files": []})
        assert r.outcome()[1] == b"[%d,%s]" % (step, is_first)
    r.input(max_age=60)
    assert r.outcome()[1] == b"[4,false]"


DATASET = """
from fabric_sdk import train
from fabric_sdk.train.data_parallel_trainer import DataParallelTrainer
def f(source):
    loop = lambda: list(train.get_dataset_shard().iter_rows())
    return DataParallelTrainer(loop, datasets={"train": source}).fit().return_value
"""


def test_datasets_come_from_the_bucket_a_file_at_a_time_and_leave_nothing(runner):
    import json

    r = runner(DATASET)
    folder = "s3://fabric/datasets/imdb/"
    for source, asked, read in (
        (folder, folder, ["a.csv", "b.csv"]),
        (f"{folder}b*.csv", folder, ["b.csv"]),
        (f"{folder}a.csv", f"{folder}a.csv", ["a.csv"]),
    ):
        r.input(source)
        request = r.request()
        assert request["operation"] == {"op": "files", "url": asked}
        names = ["a.csv"] if asked != folder else ["README", "b.csv", "a.csv"]
        r.reply(request, {"files": [{"url": folder + name, "size": 6} for name in names]})
        for name in read:
            request = r.expect("request", "stream.credit")[0]
            while request["type"] != "request":
                request = r.expect("request", "stream.credit")[0]
            assert request["operation"] == {"op": "dataset", "url": folder + name}
            r.reply(request, {"files": [{"path": name, "size": 6, "stream": 2}]})
            r.send_stream(2, b"x,y\n" + (b"1," if name == "a.csv" else b"2,"))
        rows = json.loads(next_outcome(r)[1])
        assert [row["x"] for row in rows] == [1 if name == "a.csv" else 2 for name in read]
    assert os.listdir(r.scratch / ".fabric" / "restored") == []
    r.input(folder)
    r.reply(r.request(), error={"code": "dataset_unreadable", "message": "there is nothing at s3://..."})
    assert "dataset_unreadable" in next_outcome(r)[0]["error"]["message"]


def test_none_before_the_first_checkpoint(runner):
    r = runner(RESTORE)
    r.input()
    r.reply(r.request(), None)
    assert r.outcome()[1] == b"null"


def test_files_that_lie_about_their_size_or_place_are_refused(runner):
    r = runner(RESTORE)
    for path, size in (("../../evil", 3), ("/etc/evil", 3), ("model", 4)):
        r.input()
        request = r.request()
        described = [{"path": path, "size": size, "stream": 8}]
        r.reply(request, {"series": "s", "step": 3, "metrics": {}, "files": described})
        r.send_stream(8, b"abc")
        header, _ = next_outcome(r)
        assert "checkpoint_invalid" in header["error"]["message"], header
    assert not os.path.exists(r.scratch / "evil")


def test_a_runner_that_breaks_a_restore_off_fails_it(runner):
    r = runner(RESTORE)
    r.input()
    request = r.request()
    described = [{"path": "a", "size": 4, "stream": 2}, {"path": "b", "size": 4, "stream": 4}]
    r.reply(request, {"series": "s", "step": 3, "metrics": {}, "files": described})
    r.connection.send({"type": "stream.open", "stream": 2, "name": "a"})
    r.connection.send({"type": "stream.cancel", "stream": 2, "reason": "the bucket is gone"})
    assert "the bucket is gone" in next_outcome(r)[0]["error"]["message"]
    assert os.listdir(r.scratch / ".fabric" / "restored") == []


def test_questions_are_asked_again_after_a_reconnection(runner):
    import json

    r = runner(REPORT)
    r.input()
    first = r.request()
    r.lose()
    r.come_back()
    assert r.request() == first
    r.reply(first, {"step": 0})
    assert r.outcome()[1] == b"0"

    again = runner(RESTORE)
    again.input()
    request = again.request()
    described = [{"path": "a", "size": 4, "stream": 2}]
    again.reply(request, {"series": "s", "step": 3, "metrics": {}, "files": described})
    again.connection.send({"type": "stream.open", "stream": 2, "name": "a"})
    again.expect("stream.credit")
    again.lose()
    again.come_back()
    files(again, again.request(), {"a": 4})
    assert json.loads(next_outcome(again)[1])[3] == {"a": 4}


def test_cancelled_while_files_arrive(runner):
    r = runner(RESTORE)
    name = r.input()
    request = r.request()
    described = [{"path": "a", "size": 4, "stream": 2}]
    r.reply(request, {"series": "s", "step": 3, "metrics": {}, "files": described})
    r.connection.send({"type": "stream.open", "stream": 2, "name": "a"})
    r.expect("stream.credit")
    r.connection.send({"type": "cancel", **name, "reason": "cancelled"})
    seen = [r.expect("stream.cancel", "error")[0] for _ in range(2)]
    assert {header["type"] for header in seen} == {"stream.cancel", "error"}
    assert os.listdir(r.scratch / ".fabric" / "restored") == []
