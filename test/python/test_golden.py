"""The shim understands and says exactly what the golden messages of both languages say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fabric_sdk._shim.attempts import Attempt
from fabric_sdk._shim.frames import Decoder, encode

FOLDER = Path(__file__).parents[1] / "golden" / "protocol"
FILES = sorted(FOLDER.glob("*/*.json"))


def golden(name: str) -> tuple[dict, bytes]:
    content = json.loads((FOLDER / name).read_text())
    return content["header"], content.get("body", "").encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_frames_survive_coding_in_any_pieces(file):
    header, body = golden(f"{file.parent.name}/{file.name}")
    data = encode(header, body) * 2
    for size in (1, 7, len(data)):
        decoder = Decoder()
        frames = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
        assert frames == [(header, body)] * 2


def test_there_are_messages():
    assert len(FILES) > 20


def test_the_shim_handles_every_message_to_it():
    from fabric_sdk._shim.__main__ import Shim

    handled = {*Shim("unused").link.handlers, "start", "ack", "reply"}
    handled |= {"launch", "halt"}  # test_shim_gang.py
    assert {file.stem.partition("-")[0] for file in FOLDER.glob("to-shim/*.json")} <= handled


def shape(value):
    """Structure and types, numbers alike: what a schema would check."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


def same_shape(said: dict, name: str, **leave_out) -> None:
    expected, _ = golden(f"from-shim/{name}.json")
    assert shape(said) == shape(expected)


def test_what_a_real_shim_says_has_the_golden_shapes(runner):
    r = runner(
        "import os, fabric_sdk as fabric\n"
        "def f(what):\n"
        "  if what == 'raise': raise ValueError('no such digit')\n"
        "  if what == 'print': print('epoch 1')\n"
        "  if what == 'save':\n    os.mkdir('d')\n"
        "    fabric.train.report({'accuracy': 0.9, 'loss': 0.1}, fabric.Checkpoint.from_directory('d'), step=4)\n"
        "  if what == 'behind':\n    os.mkdir('e')\n"
        "    fabric.train.series('s', num_to_keep=2, checkpoint_score_attribute='loss', checkpoint_score_order='min')\n"
        "    fabric.train.report_behind({'accuracy': 0.9, 'loss': 0.1}, fabric.Checkpoint.from_directory('e'))\n"
        "  if what == 'large': return 'x' * 300000\n"
        "  if what == 'call': return fabric.Function.from_name('bert', 'embed').remote('hi')\n"
        "  if what == 'get': return fabric.Invocation.from_id('inv_1').get(timeout=5)\n"
        "  if what == 'status': return fabric.Invocation.from_id('inv_1').status()\n"
        "  if what == 'cancel': return fabric.Invocation.from_id('inv_1').cancel()\n"
        "  return {'digit': 7}",
        boot=False,
    )
    (r.bundle / "broken.py").write_text("import nothing_here")
    ready = r.boot().ready()
    same_shape({**ready, "running": [{"id": "x", "generation": 1}]}, "ready")
    r.input("plain")
    same_shape(r.outcome()[0], "result")
    r.input("raise")
    same_shape(r.outcome()[0], "error")
    r.input("print")
    header, body = r.expect("log")
    assert body == b"epoch 1\n"
    same_shape(header, "log")
    r.outcome()
    r.input("save")
    request = r.request()
    same_shape(request, "request")
    r.reply(request, {"step": 4})
    r.outcome()
    r.input("behind")
    r.reply(r.request(), {"series": "s", "next_step": 0})
    request = r.request()
    same_shape(request, "request-behind")
    r.reply(request, {"step": 0})
    r.outcome()
    for what, name in (("call", "call"), ("get", "outcome"), ("status", "status"), ("cancel", "cancel")):
        r.input(what)
        request = r.request()
        same_shape(request, f"request-{name}")
        r.reply(request, error={"code": "internal", "message": "no"})
        r.outcome()
    r.input("large")
    header = r.expect("result")[0]
    same_shape(r.expect("stream.open")[0], "stream.open")
    r.connection.send({"type": "stream.credit", "stream": header["stream"], "bytes": 1 << 20})
    for name in ("stream.data", "stream.data", "stream.data", "stream.end"):
        same_shape(r.expect(name)[0], name)


def test_an_attempt_reads_the_golden_input():
    attempt = Attempt(*golden("to-shim/input.json"))
    assert attempt.key == ("inv_01j9zk3v5m8q2w4e6r8t0y1u3i", 2) and attempt.accept_pickle
