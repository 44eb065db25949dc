"""Classes in a real shim: parameters, entering and leaving, methods of both kinds, values that travel."""

from __future__ import annotations

import json
import os
import signal
import time

import cloudpickle
import fabric_sdk as fabric

MODEL = """
import os
import fabric_sdk as fabric
app = fabric.App("a")

class Base:
    @fabric.enter()
    def begin(self):
        self.log = ["begin"]
        print("entering", self.size)

    @fabric.method()
    def inherited(self): return [type(self).__name__, self.size]

@app.cls()
class Model(Base):
    size: str = fabric.parameter(default="small")
    layers: int = fabric.parameter()
    key: bytes = fabric.parameter(default=b"k")
    rate: float = fabric.parameter(default=1)
    loaded: object = fabric.parameter(init=False)

    @fabric.enter()
    def load(self):
        self.log.append("load")
        self.loaded = self.size * self.layers

    @fabric.exit()
    def leave(self):
        print("leaving", len(self.log))

    @fabric.method()
    def predict(self, x: int, times: int = 2):
        self.log.append("predict")
        return [self.loaded, self.key.decode(), repr(self.rate), self.helper(x), self.double(x), self.double.local(x)]

    def helper(self, x): return x + 1

    @fabric.method()
    def double(self, x): return x * 2

    @fabric.method()
    def history(self): return self.log
"""


def class_of(parameters: dict, *methods: str, asynchronous: tuple[str, ...] = (), batched: dict | None = None) -> dict:
    told = [{"name": name, "is_async": name in asynchronous} for name in methods]
    if batched:
        told[0]["batched"] = batched
    return {"class": {"parameters": parameters, "methods": told}}


def test_an_instance_with_its_parameters_is_entered_once_and_left_at_the_end(runner):
    names = ("inherited", "predict", "double", "history")
    values = {"size": "ab", "layers": 2, "key": "eno=", "rate": 2}
    r = runner(MODEL, entry={"module": "user", "qualname": "Model"}, more=class_of(values, *names))
    assert r.call(1, method="predict") == ["abab", "zz", "2.0", 2, 2, 2]
    assert r.call(method="inherited") == ["Model", "ab"]
    assert r.call(method="history") == ["begin", "load", "predict"]
    r.expect_log("entering ab")
    r.connection.send({"type": "shutdown"})
    r.expect_log("leaving 3")
    assert r.exit_code() == 0


def test_defaults_are_values_too(runner):
    values = {"layers": 3}
    r = runner(MODEL, entry={"module": "user", "qualname": "Model"}, more=class_of(values, "predict"))
    assert r.call(1, method="predict")[:3] == ["smallsmallsmall", "k", "1"]


def test_a_term_signal_leaves_in_good_order_and_a_failing_exit_is_printed(runner):
    code = (
        "import fabric_sdk as fabric\nclass M:\n"
        "  @fabric.exit()\n  def bad(self): raise ValueError('cannot leave')\n"
        "  @fabric.exit()\n  async def last(self): print('last one out')\n"
        "  @fabric.method()\n  def f(self): return 1\n"
    )
    r = runner(code, entry={"module": "user", "qualname": "M"}, more=class_of({}, "f"))
    assert r.call(method="f") == 1
    os.kill(r.process.pid, signal.SIGTERM)
    r.expect_log("last one out")
    r.expect_log("ValueError: cannot leave")
    assert r.exit_code() == 0


def test_a_failing_enter_has_its_own_code_and_traceback(runner):
    code = (
        "import fabric_sdk as fabric\nclass M:\n"
        "  @fabric.enter()\n  def load(self):\n    raise FileNotFoundError('weights.bin')\n"
        "  @fabric.method()\n  def f(self): return 1\n"
    )
    r = runner(code, entry={"module": "user", "qualname": "M"}, more=class_of({}, "f"), boot=False).boot()
    frame, _ = r.expect("import_failed")
    assert (
        frame["code"] == "enter_failed" and frame["message"] == "M.load (@enter) failed: FileNotFoundError: weights.bin"
    )
    assert "user.py" in frame["traceback"] and "load.py" not in frame["traceback"]
    assert r.exit_code() == 78


def test_coroutine_and_plain_methods_live_in_one_container(runner):
    code = (
        "import asyncio, threading, fabric_sdk as fabric\nclass M:\n"
        "  @fabric.enter()\n  async def load(self): self.loop = asyncio.get_running_loop()\n"
        "  @fabric.method()\n  async def waits(self):\n"
        "    self.event = asyncio.Event()\n    await self.event.wait()\n"
        "    return self.loop is asyncio.get_running_loop()\n"
        "  @fabric.method()\n  def wakes(self):\n"
        "    self.loop.call_soon_threadsafe(self.event.set)\n    return threading.current_thread().name\n"
    )
    more = class_of({}, "waits", "wakes", asynchronous=("waits",))
    r = runner(code, entry={"module": "user", "qualname": "M"}, slots=2, more=more)
    r.input(method="waits", id="inv_waits")
    time.sleep(0.05)
    r.input(method="wakes", id="inv_wakes")
    ended = {}
    for _ in range(2):
        header, body = r.outcome()
        ended[header["id"]] = json.loads(body)
    assert ended["inv_waits"] is True and ended["inv_wakes"].startswith("fabric-slot")


def test_a_method_nobody_knows_fails_its_input_only(runner):
    r = runner(MODEL, entry={"module": "user", "qualname": "Model"}, more=class_of({"layers": 1}, "double"))
    error, _ = r.failure(method="nothing")
    assert error == {"code": "invalid_arguments", "message": "there is no method nothing"}
    assert r.call(4, method="double") == 8


def test_a_class_of_a_script_travels_by_value(runner):
    app = fabric.App("scripted")

    @app.cls(name="Local")
    class Local:
        size: str = fabric.parameter(default="x")

        @fabric.enter()
        def load(self):
            self.text = self.size * 3

        @fabric.method()
        def read(self):
            return [self.text, self.other(), self.other.local()]

        @fabric.method()
        def other(self):
            return repr(self.other.remote)

    r = runner(boot=False, entry={"pickle": "Local.pkl"}, more=class_of({"size": "y"}, "read", "other"))
    import test_shim_classes

    cloudpickle.register_pickle_by_value(test_shim_classes)
    try:
        (r.bundle / "Local.pkl").write_bytes(cloudpickle.dumps(Local.__fabric_class__))
    finally:
        cloudpickle.unregister_pickle_by_value(test_shim_classes)
    r.boot().ready()
    text, *others = r.call(method="read")
    assert text == "yyy" and all("Method" in other for other in others)
