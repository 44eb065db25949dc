"""Cron and Period: when fabric calls a function by itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Union

from .errors import InvalidError

__all__ = ["Cron", "Period", "Schedule"]


@dataclass(frozen=True)
class Cron:
    """Ticks of a cron expression in a time zone: `Cron("0 9 * * *", timezone="Europe/Berlin")`.

    Missed ticks, because fabric was down, are made up for by one run (`on_missed="run_once"`) or by none ("skip").
    """

    cron_string: str
    timezone: str = "UTC"
    on_missed: str = "run_once"

    def __post_init__(self) -> None:
        if not isinstance(self.cron_string, str) or len(self.cron_string.split()) != 5:
            raise _wrong("cron_string", self.cron_string, "five fields, minute to day of week, such as '0 9 * * *'")
        if not isinstance(self.timezone, str) or not self.timezone:
            raise _wrong("timezone", self.timezone, "the name of a time zone, such as 'Europe/Berlin'")
        _check_on_missed(self.on_missed)

    def spec(self) -> dict[str, Any]:
        """As function specs carry it."""
        cron = " ".join(self.cron_string.split())
        return {"kind": "cron", "cron": cron, "timezone": self.timezone, "on_missed": self.on_missed}


@dataclass(frozen=True)
class Period:
    """Ticks this far apart, counted from the first deployment with this period: `Period(hours=1)`.

    Months and years are those of the calendar, in UTC. `on_missed` as in `Cron`.
    """

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: float = 0
    on_missed: str = "run_once"

    def __post_init__(self) -> None:
        for unit, value in self._units().items():
            kinds = (int, float) if unit == "seconds" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or value < 0:
                rule = "a number of at least 0" if unit == "seconds" else "a whole number of at least 0"
                raise _wrong(unit, value, rule)
        if not self.seconds >= 1 and not any(value for unit, value in self._units().items() if unit != "seconds"):
            raise _wrong("the period", self, "1 second at least")
        _check_on_missed(self.on_missed)

    def spec(self) -> dict[str, Any]:
        """As function specs carry it."""
        return {"kind": "period", **self._units(), "on_missed": self.on_missed}

    def _units(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "on_missed"}


Schedule = Union[Cron, Period]


def _check_on_missed(value: object) -> None:
    if value not in ("run_once", "skip"):
        raise _wrong("on_missed", value, '"run_once" or "skip"')


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")
