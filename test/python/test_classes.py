"""Classes, batches and concurrency as a user writes them: what is described, what is refused, and `.local()`."""

from __future__ import annotations

import pickle

import cloudpickle
import fabric_sdk as fabric
import pytest
from fabric_sdk.describe import describe_app
from fabric_sdk.run import method_arguments

app = fabric.App("a", memory=64)


class Base:
    @fabric.method()
    def inherited(self):
        return f"{type(self).__name__} {self.size}"

    @fabric.method()
    def overridden(self):
        return "base"


@app.cls(gpu="A100")
@fabric.concurrent(max_inputs=4, target_inputs=2)
class Model(Base):
    """A model."""

    size: str = fabric.parameter(default="small")
    layers: int = fabric.parameter()
    key: bytes = fabric.parameter(default=b"k")
    cache: dict = fabric.parameter(init=False)
    LIMIT = 3

    @fabric.enter()
    def load(self):
        self.cache = {"entered": getattr(self, "entered", 0) + 1}

    @fabric.method()
    async def predict(self, x: int, /, *, times: int = 2):
        """Predicts."""
        return x * times

    @fabric.method()
    def overridden(self):
        return f"not {super().overridden()}"

    @fabric.method()
    def stream(self, n):
        yield from range(n)


@app.cls()
class Derived(Model):
    @fabric.method()
    def more(self):
        return self.inherited()


def test_a_class_is_one_spec_with_its_parameters_and_methods():
    told = describe_app(app, "/x")
    spec = next(one for one in told["functions"] if one["name"] == "Model")
    assert (spec["gpu"], spec["memory"], spec["max_inputs"], spec["target_inputs"]) == ("A100", 64, 4, 2)
    assert spec["class"]["parameters"] == [
        {"name": "size", "type": "str", "default": "small"},
        {"name": "layers", "type": "int"},
        {"name": "key", "type": "bytes", "default": "aw=="},
    ]
    methods = {one["name"]: one for one in spec["class"]["methods"]}
    assert set(methods) == {"inherited", "overridden", "predict", "stream"}
    assert methods["predict"]["is_async"] and methods["predict"]["doc"] == "Predicts."
    assert [one["name"] for one in methods["predict"]["parameters"]] == ["x", "times"]
    assert methods["stream"]["is_generator"]
    derived = next(one for one in told["functions"] if one["name"] == "Derived")
    assert {one["name"] for one in derived["class"]["methods"]} == {*methods, "more"}


def test_local_calls_make_and_enter_one_instance_when_it_is_needed():
    model = Model(layers=2, size="big")
    assert model.inherited.local() == "Model big" and model.cache == {"entered": 1}
    assert model.overridden.local() == "not base" and model.LIMIT == 3 == Model.LIMIT
    assert list(model.stream.local(2)) == [0, 1]
    assert Derived(layers=1).more.local() == "Derived small"


def test_handles_travel_and_name_what_they_call():
    handle = pickle.loads(cloudpickle.dumps(Model.with_options(timeout=7, retries=1)(layers=2)))
    variant = handle.predict._call_options.variant
    assert handle.predict.name == "Model.predict" and handle.predict.app_name == "a"
    assert variant.given() == {"parameters": {"layers": 2}, "overrides": {"timeout": 7, "retries": 1}}
    headers = handle.predict.with_call_options(delay=1)._call_options.headers()
    assert headers["Fabric-Parameters"] == '{"layers": 2}' and headers["Fabric-Delay"] == "1"
    named = fabric.Cls.from_name("b", "M").with_concurrency(max_inputs=8)(key=b"x", rate=1.5)
    assert named.anything._call_options.variant.given() == {
        "parameters": {"key": "eA==", "rate": 1.5},
        "overrides": {"max_inputs": 8},
    }


@pytest.mark.parametrize(
    "values, error, words",
    [
        ({}, TypeError, "missing parameter 'layers'"),
        ({"layers": 1, "color": "red"}, TypeError, "unknown parameter 'color'"),
        ({"layers": 1, "cache": {}}, TypeError, "unknown parameter 'cache'"),
        ({"layers": "1"}, fabric.InvalidError, "layers is '1'; it must be a int"),
        ({"layers": True}, fabric.InvalidError, "layers is True"),
        ({"layers": 2**53}, fabric.InvalidError, "53 bits"),
        ({"layers": 1, "size": "x" * 5000}, fabric.InvalidError, "4096"),
    ],
)
def test_values_that_do_not_fit_are_refused_at_once(values, error, words):
    with pytest.raises(error, match=words):
        Model(**values)


def test_positional_values_and_methods_of_the_class_itself_are_refused():
    with pytest.raises(TypeError, match="by name"):
        Model(2)
    with pytest.raises(AttributeError, match=r"write Model\(\).predict"):
        _ = Model.predict
    with pytest.raises(fabric.InvalidError, match="from_name"):
        fabric.Cls.from_name("b", "M")().f.local()


@pytest.mark.parametrize("given", [{"image": fabric.Image.python()}, {"network": "none"}, {"min_containers": 1}])
def test_with_options_changes_resources_and_scaling_only(given):
    with pytest.raises(fabric.InvalidError, match="with_options cannot change"):
        Model.with_options(**given)


def test_with_options_checks_values():
    with pytest.raises(fabric.InvalidError, match="timeout is 0"):
        Model.with_options(timeout=0)
    with pytest.raises(TypeError, match="unknown option 'tiemout'; did you mean timeout"):
        Model.with_options(tiemout=1)


def made(**body):
    return type("Bad", (), {"__module__": __name__, **body})


@fabric.method()
def f(self, x=1):
    return x


@fabric.batched(max_batch_size=2, wait_ms=1)
def b(self, x):
    return x


@fabric.concurrent(max_inputs=2)
@fabric.method()
def c(self):
    return 1


@pytest.mark.parametrize(
    "body, words",
    [
        ({}, "no method to call"),
        ({"f": f, "__init__": lambda self, size: None}, "has an __init__"),
        ({"f": f, "__init__": lambda self: None}, r"fabric.parameter\(\)"),
        ({"f": f, "size": fabric.parameter()}, "the type none"),
        ({"f": f, "size": fabric.parameter(), "__annotations__": {"size": list}}, "the type list"),
        ({"f": f, "size": fabric.parameter(default=1), "__annotations__": {"size": str}}, "size is 1"),
        ({"f": f, "b": b}, "can have no other methods"),
        ({"c": c}, "put @fabric.concurrent on the class"),
    ],
)
def test_classes_that_cannot_be_are_refused(body, words):
    with pytest.raises(fabric.InvalidError, match=words):
        fabric.App("x").cls()(made(**body))


def test_marks_are_refused_where_they_mean_nothing():
    with pytest.raises(fabric.InvalidError, match=r"@fabric.enter\(\) is for methods"):
        fabric.enter()(staticmethod(f))
    with pytest.raises(fabric.InvalidError, match="target_inputs is 3"):
        fabric.concurrent(max_inputs=2, target_inputs=3)
    with pytest.raises(fabric.InvalidError, match="wait_ms is -1"):
        fabric.batched(max_batch_size=2, wait_ms=-1)
    with pytest.raises(fabric.InvalidError, match=r"\*args"):
        fabric.batched(max_batch_size=2, wait_ms=1)(lambda *xs: xs)
    with pytest.raises(fabric.InvalidError, match="below @app"):
        fabric.concurrent(max_inputs=2)(Model)
    with pytest.raises(TypeError, match=r"@app.cls\(\)"):
        app.function()(Base)
    with pytest.raises(fabric.InvalidError, match="two functions or classes named 'Model'"):
        app.cls(name="Model")(made(f=f))
    with pytest.raises(fabric.InvalidError, match="has a schedule"):
        fabric.App("x").cls(schedule=fabric.Cron("* * * * *"))(made(f=f))


def test_run_takes_parameters_and_arguments_side_by_side():
    assert method_arguments(Model, "predict", "Model.predict", ["--layers", "3", "--x", "4", "--times", "5"]) == (
        {"layers": 3},
        [4],
        {"times": 5},
    )
