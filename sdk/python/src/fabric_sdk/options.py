"""What `@app.function(...)` takes: options, their defaults and rules, and Modal's keywords without effect here."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Union

from .errors import InvalidError
from .image import Image

__all__ = ["FunctionOptions", "options"]

Amount = Union[int, float, tuple[float, float]]

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
_LATER = frozenset("secrets volumes schedule gang network_file_systems mounts".split())
_warned: set[str] = set()


@dataclass(frozen=True)
class FunctionOptions:
    """Checked options of one function."""

    image: Image | None = None
    cpu: Amount = 1.0
    memory: Amount = 512
    gpu: str | None = None
    timeout: float = 300
    retries: int = 0
    min_containers: int = 0
    max_containers: int = 10
    buffer_containers: int = 0
    scaledown_window: float = 60
    network: str = "egress"
    ephemeral_disk: int | None = None

    def __post_init__(self) -> None:
        if self.image is not None and not isinstance(self.image, Image):
            raise _wrong("image", self.image, "a fabric.Image")
        _amount("cpu", self.cpu, 1024, "cores")
        _amount("memory", self.memory, 16_777_216, "MiB")
        if self.gpu is not None and not (isinstance(self.gpu, str) and _GPU.fullmatch(self.gpu)):
            raise _wrong("gpu", self.gpu, 'None, or a model and maybe a count: "A100", "A100:2", "any"')
        _number("timeout", self.timeout, 0, 30 * 86_400, "seconds, more than 0 and at most 30 days", above=True)
        _integer("retries", self.retries, 0, 100)
        _integer("min_containers", self.min_containers, 0, 1000)
        _integer("max_containers", self.max_containers, 1, 10_000)
        _integer("buffer_containers", self.buffer_containers, 0, 1000)
        _number("scaledown_window", self.scaledown_window, 0, 86_400, "seconds, at most a day")
        if self.network not in ("none", "egress"):
            raise _wrong("network", self.network, '"none" or "egress"')
        if self.ephemeral_disk is not None:
            _integer("ephemeral_disk", self.ephemeral_disk, 1, 2**53)
        if self.min_containers > self.max_containers:
            raise _wrong("min_containers", self.min_containers, f"at most max_containers ({self.max_containers})")

    def spec(self) -> dict[str, Any]:
        """As function specs carry it, the image left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "image"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}


KNOWN = tuple(field.name for field in fields(FunctionOptions))


def options(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> FunctionOptions:
    """Options from an app's defaults and a function's own keywords; what fabric does not know is a TypeError."""
    merged: dict[str, Any] = {}
    for name, value in {**defaults, **given}.items():
        if name in KNOWN:
            merged[name] = tuple(value) if isinstance(value, list) and name in ("cpu", "memory") else value
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


def _warn_once(name: str) -> None:
    if name not in _warned:
        _warned.add(name)
        warnings.warn(f"the option {name!r} has no effect in fabric", UserWarning, stacklevel=4)


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(name: str, value: Any, least: float, most: float, rule: str, *, above: bool = False) -> None:
    if not _is_number(value) or not least <= value <= most or (above and value == least):
        raise _wrong(name, value, rule)


def _integer(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")


def _amount(name: str, value: Any, most: float, unit: str) -> None:
    pair = value if isinstance(value, tuple) else (value,)
    if len(pair) > 2 or not all(_is_number(part) and 0 < part <= most for part in pair):
        raise _wrong(name, value, f"{unit}, more than 0 and at most {most}, or (request, limit)")
    if len(pair) == 2 and pair[0] > pair[1]:
        raise _wrong(name, value, "a request no larger than its limit")
