"""Apps, functions, options and images as a user writes them."""

from __future__ import annotations

import warnings

import fabric_sdk as fabric
import pytest


def test_images_are_immutable_and_described_layer_by_layer():
    base = fabric.Image.python("3.12")
    image = (
        base.apt_install("git")
        .pip_install("numpy>=2", ["torch"])
        .env({"A": "1"})
        .run_commands("echo 'a b'", ["x", "y z"])
    )
    assert base.spec() == {"python": "3.12", "layers": []}
    assert image.spec()["layers"] == [
        {"kind": "apt", "packages": ["git"]},
        {"kind": "pip", "packages": ["numpy>=2", "torch"]},
        {"kind": "env", "variables": {"A": "1"}},
        {"kind": "run", "commands": [["echo", "a b"], ["x", "y z"]]},
    ]
    assert fabric.Image.debian_slim(python_version="3.12").key() == base.key() != image.key()


def test_commands_that_need_a_shell_name_it():
    layer = fabric.Image.python().run_commands("echo a | tee b").spec()["layers"][0]
    assert layer["commands"] == [["/bin/sh", "-c", "echo a | tee b"]]


@pytest.mark.parametrize(
    "make",
    [
        lambda i: i.pip_install("-r requirements.txt"),
        lambda i: i.pip_install("numpy\nRUN x"),
        lambda i: i.pip_install(),
        lambda i: i.apt_install("git; rm"),
        lambda i: i.env({"A B": "1"}),
        lambda i: i.env({"A": 1}),
        lambda i: i.run_commands(["a\nb"]),
        lambda i: fabric.Image.python("3"),
    ],
)
def test_images_refuse_what_is_no_package_word_or_variable(make):
    with pytest.raises(fabric.InvalidError) as caught:
        make(fabric.Image.python())
    assert caught.value.code == "image_spec_invalid"


def test_functions_take_the_apps_defaults_and_their_own_options():
    app = fabric.App("a", cpu=2.0, memory=(512, 1024))

    @app.function(gpu="A100:2", timeout=5, name="other")
    @fabric.concurrent(max_inputs=8)
    async def f(a, /, b=1, *rest, c, **more):
        """Says."""

    spec = f.spec({"module": "m", "qualname": "f"}, "key")
    assert (spec["name"], spec["cpu"], spec["memory"], spec["gpu"]) == ("other", 2.0, [512, 1024], "A100:2")
    assert (spec["max_inputs"], spec["is_async"], spec["doc"], spec["retries"]) == (8, True, "Says.", 0)
    assert [(p["name"], p["kind"], p["required"]) for p in spec["parameters"]] == [
        ("a", "positional", True),
        ("b", "normal", False),
        ("rest", "args", False),
        ("c", "keyword", True),
        ("more", "kwargs", False),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"cpu": 0},
        {"cpu": (2, 1)},
        {"memory": "512"},
        {"gpu": "A100 80GB"},
        {"timeout": 0},
        {"retries": -1},
        {"retries": True},
        {"network": "host"},
        {"max_containers": 0},
        {"min_containers": 11},
        {"ephemeral_disk": 0.5},
        {"image": "x"},
    ],
)
def test_options_name_the_value_and_the_rule(options):
    with pytest.raises(fabric.InvalidError, match=rf"{next(iter(options))} is .*; it must be"):
        fabric.App("a").function(**options)


def test_unknown_options_are_refused_and_modals_own_warn_once():
    app = fabric.App("a")
    with pytest.raises(TypeError, match=r"unknown option 'memroy'; did you mean memory.*Known: .*timeout"):
        app.function(memroy=1)
    with pytest.raises(TypeError, match=r"unknown option 'block_network'; did you mean network='none'\?"):
        app.function(block_network=True)
    with pytest.raises(TypeError, match=r"unknown option 'xyz'\. Known"):
        app.function(xyz=True)
    with pytest.warns(UserWarning, match="'region' has no effect"):
        app.function(region="eu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.function(region="eu")
    with pytest.raises(fabric.InvalidError, match="secrets is not available"):
        app.function(secrets=["x"])


def test_names_are_checked_and_may_not_repeat():
    with pytest.raises(fabric.InvalidError) as caught:
        fabric.App("my app")
    assert caught.value.code == "invalid_name"
    app = fabric.App("a")
    app.function(name="f")(lambda: 1)
    with pytest.raises(fabric.InvalidError) as caught:
        app.function(name="f")(test_names_are_checked_and_may_not_repeat)
    assert caught.value.code == "function_duplicate"


def test_public_names_are_sorted():
    assert fabric.__all__ == sorted(fabric.__all__)


def test_retries_are_a_policy_with_modals_names():
    app = fabric.App("a")

    class Upset(Exception):
        pass

    @app.function(retries=fabric.Retries(max_retries=3, initial_delay=0.5, retry_for=(ConnectionError, "x.Y")))
    def f():
        pass

    @app.function(retries=fabric.Retries(max_retries=2, dont_retry_for=Upset))
    def g():
        pass

    assert f.options.spec()["retries"] == {
        "max_retries": 3,
        "backoff_coefficient": 2.0,
        "initial_delay": 0.5,
        "max_delay": 60.0,
        "retry_for": ["builtins.ConnectionError", "x.Y"],
        "dont_retry_for": [],
    }
    assert g.options.spec()["retries"]["dont_retry_for"] == [f"{__name__}.{Upset.__qualname__}"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": 1, "backoff_coefficient": 11}, "backoff_coefficient is 11"),
        ({"max_retries": 1, "initial_delay": -0.1}, "initial_delay is -0.1"),
        ({"max_retries": 1, "max_delay": 0.5}, "max_delay is 0.5"),
        ({"max_retries": 1, "retry_for": (int,)}, "retry_for is <class 'int'>"),
        ({"max_retries": 1, "retry_for": "a b"}, "retry_for is 'a b'"),
    ],
)
def test_retry_policies_name_the_value_and_the_rule(given, named):
    with pytest.raises(fabric.InvalidError, match=named):
        fabric.Retries(**given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"retries": 1, "at_most_once": True}, "retries is 1"),
        ({"retries": fabric.Retries(max_retries=2), "at_most_once": True}, "at_most_once"),
        ({"retries": "3"}, "retries is '3'"),
        ({"at_most_once": 1}, "at_most_once is 1"),
        ({"max_queue_age": 0}, "max_queue_age is 0"),
        ({"key_concurrency": 0}, "key_concurrency is 0"),
        ({"rate_limit": "10 per second"}, "rate_limit is '10 per second'"),
        ({"rate_limit": "0/s"}, "rate_limit is '0/s'"),
    ],
)
def test_options_of_when_an_input_runs_are_checked(given, named):
    with pytest.raises(fabric.InvalidError, match=named):
        fabric.App("a").function(**given)


def test_call_options_make_a_bound_copy_and_travel_as_headers():
    f = fabric.Function.from_name("a", "f")
    later = f.with_call_options(delay=1.5, ttl=60, priority=30, idempotency_key="k", webhook="https://a/b")
    assert later is not f and later.name == "f" and f._call_options.headers() == {}
    assert later._call_options.headers() == {
        "Fabric-Delay": "1.5",
        "Fabric-Ttl": "60",
        "Fabric-Priority": "30",
        "Idempotency-Key": "k",
        "Fabric-Webhook": "https://a/b",
    }
    assert f.with_call_options(key="user-1")._call_options.headers() == {"Fabric-Key": "user-1"}
    assert f.with_call_options(priority=-60)._call_options.headers() == {"Fabric-Priority": "-60"}
    calm = f.with_call_options(debounce=5, debounce_key="user-1")
    assert calm._call_options.headers() == {"Fabric-Debounce": "5", "Fabric-Debounce-Key": "user-1"}


@pytest.mark.parametrize(
    "given",
    [
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": "soon"},
        {"ttl": 0},
        {"key": ""},
        {"ttl": True},
        {"priority": -86_401},
        {"priority": True},
        {"priority": float("nan")},
        {"priority": 86_401},
        {"debounce": 31 * 86_400},
        {"debounce": 1, "delay": 1},
        {"debounce_key": "alone"},
        {"idempotency_key": ""},
        {"idempotency_key": "line\nfeed"},
        {"webhook": "ftp://a/b"},
        {"webhook": "https://a/\nb"},
    ],
)
def test_call_options_are_checked_before_anything_is_sent(given):
    with pytest.raises(fabric.InvalidError, match="it must be"):
        fabric.Function.from_name("a", "f").with_call_options(**given)


def test_a_word_of_modal_that_is_missing_says_what_to_write_instead():
    with pytest.raises(AttributeError, match=r"has no Secret; give values by Image\.env"):
        fabric.Secret  # noqa: B018
    assert not hasattr(fabric, "Nonsense")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"gang": 0}, "gang is 0; it must be None, or the number of containers"),
        ({"gang": "4"}, "gang is '4'"),
        ({"gang": 2, "procs": 0}, 'procs is 0; it must be "auto" (one for each GPU), or a whole number from 1 to 64'),
        ({"procs": 2}, "procs is 2; it must be beside gang"),
        ({"gang": 17, "procs": 64}, "at most 1024 ranks"),
    ],
)
def test_gang_options_name_the_value_and_the_rule(given, named):
    with pytest.raises(fabric.InvalidError) as caught:
        fabric.App("a").function(**given)(lambda: None)
    assert named in str(caught.value)


@pytest.mark.parametrize("given", ["torch", [1], ["a b"], ["../x"], ["a"] * 65])
def test_preload_is_a_list_of_modules(given):
    with pytest.raises(fabric.InvalidError, match="preload is"):
        fabric.App("a").function(preload=given)(lambda: None)
    assert fabric.App("a").function(preload=["os.path"])(len).options.spec()["preload"] == ["os.path"]


def test_respawn_is_for_functions_that_are_no_gangs():
    assert fabric.App("a").function(respawn=True)(len).options.spec()["respawn"] is True
    with pytest.raises(fabric.InvalidError, match="left out beside gang"):
        fabric.App("a").function(respawn=True, gang=2)(len)


def test_gangs_are_plain_functions():
    app = fabric.App("a")

    @app.function(gang=4, gpu="A100:2", procs=3)
    def train() -> None: ...

    assert {key: train.options.spec()[key] for key in ("gang", "procs")} == {"gang": 4, "procs": 3}

    def counts():
        yield 1

    @fabric.concurrent(max_inputs=2)
    def many() -> None: ...

    @fabric.batched(max_batch_size=2, wait_ms=1)
    def batch(xs): ...

    for plain, named in ((counts, "yields"), (many, "is concurrent"), (batch, "is batched")):
        with pytest.raises(fabric.InvalidError, match=f"{plain.__name__} has gang, but {named}"):
            app.function(gang=2)(plain)
    with pytest.raises(fabric.InvalidError, match="only functions can be gangs"):
        app.cls(gang=2)(type("Model", (), {}))
