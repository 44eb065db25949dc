"""CallOptions: what a caller may ask of one call beside its arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import InvalidError

__all__ = ["CallOptions"]

_DAY_S = 86_400
_MAX_S = 30 * _DAY_S
WEBHOOK = re.compile(r"https?://[!-~]{1,2040}")


@dataclass(frozen=True)
class Variant:
    """Which values and options of its class a method is called with."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, dict[str, Any]]:
        """Those that may differ from the deployed class' own."""
        both = {"parameters": dict(self.parameters), "overrides": dict(self.overrides)}
        return {name: values for name, values in both.items() if values}


NO_VARIANT = Variant()


@dataclass(frozen=True)
class CallOptions:
    """See `Function.with_call_options`."""

    delay: float | None = None
    ttl: float | None = None
    priority: float | None = None
    key: str | None = None
    debounce: float | None = None
    debounce_key: str | None = None
    idempotency_key: str | None = None
    webhook: str | None = None
    #: Of a class' method.
    variant: Variant = NO_VARIANT

    def __post_init__(self) -> None:
        _seconds("delay", self.delay, "0 or more")
        _seconds("ttl", self.ttl, "more than 0")
        if self.priority is not None and not (_is_number(self.priority) and -_DAY_S <= self.priority <= _DAY_S):
            raise _wrong("priority", self.priority, "None, or seconds, at most a day, negative to let others go first")
        _seconds("debounce", self.debounce, "more than 0")
        _key("key", self.key)
        _key("debounce_key", self.debounce_key)
        _key("idempotency_key", self.idempotency_key)
        if self.webhook is not None and not (isinstance(self.webhook, str) and WEBHOOK.fullmatch(self.webhook)):
            raise _wrong("webhook", self.webhook, "None, or an http or https URL")
        if self.debounce is not None and self.delay is not None:
            raise _wrong("delay", self.delay, "left out beside debounce, which is a delay")
        if self.debounce is None and self.debounce_key is not None:
            raise _wrong("debounce_key", self.debounce_key, "left out without debounce")

    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        named = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "variant"}
        return {name: value for name, value in named.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """As requests carry them."""
        told = {_HEADERS[name]: f"{value}" for name, value in self.given().items()}
        return {**told, **{_HEADERS[name]: json.dumps(values) for name, values in self.variant.given().items()}}


_HEADERS = {
    "delay": "Fabric-Delay",
    "ttl": "Fabric-Ttl",
    "priority": "Fabric-Priority",
    "key": "Fabric-Key",
    "debounce": "Fabric-Debounce",
    "debounce_key": "Fabric-Debounce-Key",
    "idempotency_key": "Idempotency-Key",
    "webhook": "Fabric-Webhook",
    "overrides": "Fabric-Options",
    "parameters": "Fabric-Parameters",
}


def _seconds(name: str, value: Any, least: str) -> None:
    if value is None:
        return
    if not _is_number(value) or not 0 <= value <= _MAX_S or (value == 0 and least != "0 or more"):
        raise _wrong(name, value, f"None, or seconds, {least} and at most 30 days")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _key(name: str, value: Any) -> None:
    if value is None:
        return
    # a header, so that everything else would have to be encoded
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isascii() or not value.isprintable():
        raise _wrong(name, value, "1 to 255 printable ASCII characters")


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")
