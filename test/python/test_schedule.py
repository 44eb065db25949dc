"""Cron and Period, and what a function with one must be like."""

from __future__ import annotations

import fabric_sdk as fabric
import pytest


def test_a_schedule_travels_with_the_functions_spec():
    app = fabric.App("a")

    @app.function(schedule=fabric.Cron("0  9 * * *", timezone="Europe/Berlin"))
    def daily(day=None, *rest, **more): ...

    @app.function(schedule=fabric.Period(hours=1, seconds=0.5, on_missed="skip"))
    def hourly(): ...

    @app.function()
    def never(): ...

    specs = [function.spec({}, "i")["schedule"] for function in (daily, hourly, never)]
    assert specs == [
        {"kind": "cron", "cron": "0 9 * * *", "timezone": "Europe/Berlin", "on_missed": "run_once"},
        {
            "kind": "period",
            "years": 0,
            "months": 0,
            "weeks": 0,
            "days": 0,
            "hours": 1,
            "minutes": 0,
            "seconds": 0.5,
            "on_missed": "skip",
        },
        None,
    ]


def test_a_function_with_a_schedule_needs_no_arguments():
    app = fabric.App("a")
    with pytest.raises(fabric.InvalidError, match=r"daily has a schedule.*needs day, hour"):

        @app.function(schedule=fabric.Cron("0 9 * * *"))
        def daily(day, *, hour): ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: fabric.Cron("0 9 * *"),
        lambda: fabric.Cron("0 9 * * * *"),
        lambda: fabric.Cron(9),  # type: ignore[arg-type]
        lambda: fabric.Cron("0 9 * * *", timezone=""),
        lambda: fabric.Cron("0 9 * * *", on_missed="later"),
        lambda: fabric.Period(),
        lambda: fabric.Period(seconds=0.5),
        lambda: fabric.Period(hours=-1),
        lambda: fabric.Period(hours=1.5),  # type: ignore[arg-type]
        lambda: fabric.Period(days=True),
        lambda: fabric.FunctionOptions(schedule="0 9 * * *"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_schedule_is_refused_by_name_and_rule(make):
    with pytest.raises(fabric.InvalidError, match="must be"):
        make()
