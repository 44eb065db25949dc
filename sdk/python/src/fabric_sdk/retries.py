"""Retries: how often, and after which delays, an input that failed is tried again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Union

from .errors import InvalidError

__all__ = ["Retries"]

ExceptionClasses = Union[type[BaseException], str, Iterable[Union[type[BaseException], str]]]

_NAME = re.compile(r"[A-Za-z_][\w.<>]{0,255}")


@dataclass(frozen=True, init=False)
class Retries:
    """A policy with a growing delay: retry n waits `initial_delay * backoff_coefficient ** (n - 1)` seconds, at most
    `max_delay`. Plain `retries=3` waits one second before each.

    `retry_for` and `dont_retry_for` are exception classes, or their names: only the former are tried again, the latter
    never are. Timeouts, crashes and out of memory are no exceptions: they are tried again in any case."""

    max_retries: int
    backoff_coefficient: float
    initial_delay: float
    max_delay: float
    retry_for: tuple[str, ...]
    dont_retry_for: tuple[str, ...]

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
        retry_for: ExceptionClasses = (),
        dont_retry_for: ExceptionClasses = (),
    ) -> None:
        if not isinstance(max_retries, int) or isinstance(max_retries, bool) or not 0 <= max_retries <= 100:
            raise _wrong("max_retries", max_retries, "a whole number from 0 to 100")
        _number("backoff_coefficient", backoff_coefficient, 1, 10, "from 1 (always the same delay) to 10")
        _number("initial_delay", initial_delay, 0, 60, "seconds, from 0 to 60")
        _number("max_delay", max_delay, 1, 60, "seconds, from 1 to 60")
        object.__setattr__(self, "max_retries", max_retries)
        object.__setattr__(self, "backoff_coefficient", backoff_coefficient)
        object.__setattr__(self, "initial_delay", initial_delay)
        object.__setattr__(self, "max_delay", max_delay)
        object.__setattr__(self, "retry_for", _names("retry_for", retry_for))
        object.__setattr__(self, "dont_retry_for", _names("dont_retry_for", dont_retry_for))

    def spec(self) -> dict[str, Any]:
        """As function specs carry it."""
        told = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def _names(option: str, given: ExceptionClasses) -> tuple[str, ...]:
    """Classes as `module.Class`; the container finds them there."""
    several = given if isinstance(given, (tuple, list, set, frozenset)) else (given,)
    return tuple(_name(option, one) for one in several)


def _name(option: str, given: Any) -> str:
    if isinstance(given, type) and issubclass(given, BaseException):
        return f"{given.__module__}.{given.__qualname__}"
    if isinstance(given, str) and _NAME.fullmatch(given):
        return given
    raise _wrong(option, given, "exception classes, or their names such as 'requests.exceptions.Timeout'")


def _number(name: str, value: Any, least: float, most: float, rule: str) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(name, value, rule)


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")
