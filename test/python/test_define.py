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
