"""What `@app.function(...)` takes: options, their defaults and rules, and Modal's keywords without effect here."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Union

from .call_options import WEBHOOK
from .errors import InvalidError
from .image import Image
from .retries import Retries
from .schedule import Cron, Period, Schedule

__all__ = ["FunctionOptions", "options", "overrides"]

Amount = Union[int, float, tuple[float, float]]

_RATE = re.compile(r"[1-9][0-9]{0,5}/[smhd]")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_GPU = re.compile(r"[A-Za-z0-9-]{1,32}(:[1-9]\d?)?")
_WITHOUT_EFFECT = frozenset(
    "cloud cluster_size enable_memory_snapshot experimental_options i6pn include_source nonpreemptible"
    " proxy region restrict_modal_access routing_region serialized single_use_containers"
    " startup_timeout".split()
)
# Modal's words for what fabric can do, too: no effect would be a surprise
_ELSEWHERE = {
    "block_network": "network='none'",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
    "keep_warm": "min_containers",
}
_LATER = frozenset("secrets volumes network_file_systems mounts".split())
_MOST_RANKS = 1024
_warned: set[str] = set()


@dataclass(frozen=True)
class FunctionOptions:
    """Checked options of one function."""

    image: Image | None = None
    cpu: Amount = 1.0
    memory: Amount = 512
    gpu: str | None = None
    timeout: float = 300
    retries: int | Retries = 0
    at_most_once: bool = False
    max_queue_age: float | None = None
    key_concurrency: int | None = None
    rate_limit: str | None = None
    max_queued: int | None = None
    min_containers: int = 0
    max_containers: int = 10
    buffer_containers: int = 0
    scaledown_window: float = 60
    network: str = "egress"
    ephemeral_disk: int | None = None
    result_ttl: int | None = None
    webhook: str | None = None
    schedule: Schedule | None = None
    gang: int | None = None
    procs: int | str = "auto"
    preload: tuple[str, ...] = ()
    respawn: bool = False

    def __post_init__(self) -> None:
        if self.image is not None and not isinstance(self.image, Image):
            raise _wrong("image", self.image, "a fabric.Image")
        _amount("cpu", self.cpu, 1024, "cores")
        _amount("memory", self.memory, 16_777_216, "MiB")
        if self.gpu is not None and not (isinstance(self.gpu, str) and _GPU.fullmatch(self.gpu)):
            raise _wrong("gpu", self.gpu, 'None, or a model and maybe a count: "A100", "A100:2", "any"')
        _number("timeout", self.timeout, 0, 30 * 86_400, "seconds, more than 0 and at most 30 days", above=True)
        if not isinstance(self.retries, Retries):
            _integer("retries", self.retries, 0, 100, "a whole number from 0 to 100, or fabric.Retries(...)")
        if not isinstance(self.at_most_once, bool):
            raise _wrong("at_most_once", self.at_most_once, "True or False")
        if self.at_most_once and self.retries != 0 and getattr(self.retries, "max_retries", 1) != 0:
            raise _wrong("retries", self.retries, "0 beside at_most_once, which is never tried again")
        if self.max_queue_age is not None:
            rule = "None, or seconds, more than 0 and at most 30 days"
            _number("max_queue_age", self.max_queue_age, 0, 30 * 86_400, rule, above=True)
        if self.key_concurrency is not None:
            _integer("key_concurrency", self.key_concurrency, 1, 10_000)
        if self.rate_limit is not None and not (isinstance(self.rate_limit, str) and _RATE.fullmatch(self.rate_limit)):
            raise _wrong("rate_limit", self.rate_limit, 'None, or inputs per time (s, m, h, d): "10/s", "100/m"')
        if self.max_queued is not None:
            _integer("max_queued", self.max_queued, 1, 10_000_000)
        _integer("min_containers", self.min_containers, 0, 1000)
        _integer("max_containers", self.max_containers, 1, 10_000)
        _integer("buffer_containers", self.buffer_containers, 0, 1000)
        _number("scaledown_window", self.scaledown_window, 0, 86_400, "seconds, at most a day")
        if self.network not in ("none", "egress"):
            raise _wrong("network", self.network, '"none" or "egress"')
        if self.ephemeral_disk is not None:
            _integer("ephemeral_disk", self.ephemeral_disk, 1, 2**53)
        if self.result_ttl is not None:
            _integer("result_ttl", self.result_ttl, 10, 366 * 86_400)
        if self.webhook is not None and not (isinstance(self.webhook, str) and WEBHOOK.fullmatch(self.webhook)):
            raise _wrong("webhook", self.webhook, "None, or an http or https URL")
        if self.schedule is not None and not isinstance(self.schedule, (Cron, Period)):
            raise _wrong("schedule", self.schedule, "None, a fabric.Cron or a fabric.Period")
        if self.gang is not None:
            _integer("gang", self.gang, 1, 256, "None, or the number of containers, from 1 to 256")
        if self.procs != "auto":
            _integer("procs", self.procs, 1, 64, '"auto" (one for each GPU), or a whole number from 1 to 64')
            if self.gang is None:
                raise _wrong("procs", self.procs, "beside gang, whose containers' ranks it counts")
            if self.gang * int(self.procs) > _MOST_RANKS:
                raise _wrong("procs", self.procs, f"so that gang * procs is at most {_MOST_RANKS} ranks")
        if not isinstance(self.preload, tuple) or not all(
            isinstance(name, str) and len(name) <= 256 and _MODULE.fullmatch(name) for name in self.preload
        ):
            raise _wrong("preload", self.preload, 'a list of modules\' names: ["torch", "transformers"]')
        if len(self.preload) > 64:
            raise _wrong("preload", f"{len(self.preload)} names", "64 names at most")
        if not isinstance(self.respawn, bool):
            raise _wrong("respawn", self.respawn, "True or False")
        if self.respawn and self.gang is not None:
            raise _wrong("respawn", self.respawn, "left out beside gang, whose ranks are forked anew for each attempt")
        if self.min_containers > self.max_containers:
            raise _wrong("min_containers", self.min_containers, f"at most max_containers ({self.max_containers})")

    def spec(self) -> dict[str, Any]:
        """As function specs carry it, the image left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "image"}
        return {name: _plain(value) for name, value in named.items()}


KNOWN = tuple(field.name for field in fields(FunctionOptions))


def options(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> FunctionOptions:
    """Options from an app's defaults and a function's own keywords; what fabric does not know is a TypeError."""
    merged: dict[str, Any] = {}
    for name, value in {**defaults, **given}.items():
        if name in KNOWN:
            merged[name] = tuple(value) if isinstance(value, list) and name in ("cpu", "memory", "preload") else value
        elif name in _LATER:
            if value:
                raise InvalidError(f"{name} is not available in this version of fabric", code="bad_request")
        elif name in _WITHOUT_EFFECT:
            _warn_once(name)
        else:
            close = _ELSEWHERE.get(name) or next(iter(difflib.get_close_matches(name, KNOWN, n=1)), None)
            hint = f"; did you mean {close}?" if close else "."
            raise TypeError(f"unknown option {name!r}{hint} Known: {', '.join(sorted((*KNOWN, 'name')))}")
    return FunctionOptions(**merged)


#: What a class may be given otherwise than it was deployed: nothing that changes what its code is or sees.
OVERRIDABLE = tuple("cpu memory gpu timeout retries max_containers buffer_containers scaledown_window".split())


def overrides(given: Mapping[str, Any], base: FunctionOptions | None) -> dict[str, Any]:
    """The options of `with_options`, checked, as calls carry them."""
    options({}, given)
    fixed = next((name for name in given if name in KNOWN and name not in OVERRIDABLE), None)
    if fixed:
        raise InvalidError(
            f"with_options cannot change {fixed}; it takes {', '.join(OVERRIDABLE)}. Deploy the class with another"
            f" {fixed} instead",
            code="bad_request",
        )
    chosen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in KNOWN
    }
    checked = replace(base or FunctionOptions(min_containers=0), **chosen).spec()
    return {name: checked[name] for name in chosen}


def _warn_once(name: str) -> None:
    if name not in _warned:
        _warned.add(name)
        warnings.warn(f"the option {name!r} has no effect in fabric", UserWarning, stacklevel=4)


def _plain(value: Any) -> Any:
    if isinstance(value, (Retries, Cron, Period)):
        return value.spec()
    return list(value) if isinstance(value, tuple) else value


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(name: str, value: Any, least: float, most: float, rule: str, *, above: bool = False) -> None:
    if not _is_number(value) or not least <= value <= most or (above and value == least):
        raise _wrong(name, value, rule)


def _integer(name: str, value: Any, least: int, most: int, rule: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(name, value, rule or f"a whole number from {least} to {most}")


def _amount(name: str, value: Any, most: float, unit: str) -> None:
    pair = value if isinstance(value, tuple) else (value,)
    if len(pair) > 2 or not all(_is_number(part) and 0 < part <= most for part in pair):
        raise _wrong(name, value, f"{unit}, more than 0 and at most {most}, or (request, limit)")
    if len(pair) == 2 and pair[0] > pair[1]:
        raise _wrong(name, value, "a request no larger than its limit")
