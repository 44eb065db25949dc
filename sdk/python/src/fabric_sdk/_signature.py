"""How a function or method is called, as deployments tell it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "normal",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_POSITIONAL: "args",
    inspect.Parameter.VAR_KEYWORD: "kwargs",
}


def callable_spec(plain: Callable[..., Any], *, bound: bool = False) -> dict[str, Any]:
    """What deployments carry of a function or method: how it is called, not where it runs."""
    told = {
        "is_async": is_async(plain),
        "is_generator": is_generator(plain),
        "parameters": parameters(plain, bound=bound),
        "doc": (inspect.getdoc(plain) or "")[:4096],
    }
    marked = getattr(plain, "__fabric_batched__", None)
    return told if marked is None else {**told, "batched": marked}


def is_async(plain: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


def is_generator(plain: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)


def parameters(function: Callable[..., Any], *, bound: bool = False) -> list[dict[str, Any]] | None:
    """For checking arguments before anything is queued; None where Python cannot tell. `bound`: without `self`."""
    try:
        found = signature_of(function)
    except (TypeError, ValueError):
        return None
    return [
        {
            "name": parameter.name,
            "kind": _KINDS[parameter.kind],
            "required": parameter.default is parameter.empty and _KINDS[parameter.kind] not in ("args", "kwargs"),
        }
        for parameter in found[1 if bound else 0 :]
    ]


def signature_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())
