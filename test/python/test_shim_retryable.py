"""Which exceptions the function's policy lets be tried again, judged by the shim against the user's own classes."""

from __future__ import annotations

import pytest
from fabric_sdk._shim import retryable

SOURCE = """
import json
class Weather(Exception): pass
class Rain(Weather): pass
def f(what):
    if what == 'exit': raise SystemExit(3)
    raise {'rain': Rain, 'value': ValueError, 'json': json.JSONDecodeError, 'lost': ConnectionResetError}[what](
        *(['no', 'x', 0] if what == 'json' else ['no']))
"""


@pytest.mark.parametrize(
    ("rules", "final"),
    [
        ((["user.Weather"], []), {"rain": False, "value": True, "lost": True, "exit": True}),
        (([], ["user.Weather", "builtins.ConnectionError"]), {"rain": True, "value": False, "lost": True}),
        ((["Weather", "ValueError"], ["Rain"]), {"rain": True, "value": False, "lost": True}),
        ((["json.JSONDecodeError"], []), {"json": False, "value": True}),
        (([], ["nothing.Here", "builtins.print", "user.Weather.nope"]), {"rain": False, "value": False}),
    ],
)
def test_classes_are_found_by_module_and_name_by_alias_and_by_base(runner, rules, final):
    r = runner(SOURCE, retry={"retry_for": rules[0], "dont_retry_for": rules[1]})
    for what, expected in final.items():
        r.input(what)
        header, _ = r.outcome()
        assert (header["error"].get("retryable") is False) == expected, what


def test_without_rules_nothing_is_said(runner):
    r = runner(SOURCE)
    r.input("value")
    assert "retryable" not in r.outcome()[0]["error"]


def test_a_class_that_travelled_by_value_is_known_by_its_names():
    kind = type("Gone", (Exception,), {"__module__": "__main__"})
    retryable.install({"retry_for": [], "dont_retry_for": ["__main__.Gone"]})
    try:
        assert retryable.is_final(kind())
        assert not retryable.is_final(ValueError())
    finally:
        retryable.install(None)
