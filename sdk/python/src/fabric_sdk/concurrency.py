"""concurrent and batched: how many inputs a container runs at once, and whether its code gets them one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ._signature import is_generator, signature_of
from .errors import InvalidError

__all__ = ["batched", "concurrent"]

F = TypeVar("F", bound=Callable[..., Any])


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Below `@app.function()` or `@app.cls()`: a container runs up to `max_inputs` inputs at the same time. With
    `target_inputs`, more containers start once the present ones have so many each."""
    chosen = concurrency(max_inputs, target_inputs)

    def mark(function: F) -> F:
        if not isinstance(function, type) and not inspect.isroutine(function):
            raise InvalidError(
                "put @fabric.concurrent below @app.function() or @app.cls(), next to the function or class",
                code="bad_request",
            )
        marked: Any = function
        marked.__fabric_concurrent__ = chosen
        return function

    return mark


def concurrency(max_inputs: int, target_inputs: int | None) -> dict[str, int]:
    """The two options, checked, as function specs carry them."""
    _whole("max_inputs", max_inputs, 1, 1000)
    if target_inputs is None:
        return {"max_inputs": max_inputs}
    _whole("target_inputs", target_inputs, 1, max_inputs)
    return {"max_inputs": max_inputs, "target_inputs": target_inputs}


def batched(*, max_batch_size: int, wait_ms: int) -> Callable[[F], F]:
    """Below `@app.function()`, or on a method: callers give single values, the code gets lists of them (up to
    `max_batch_size`, or what came within `wait_ms` of the first) and returns a list of as many results."""
    _whole("max_batch_size", max_batch_size, 1, 1000)
    _whole("wait_ms", wait_ms, 0, 600_000)

    def mark(function: F) -> F:
        if not inspect.isfunction(function):
            raise InvalidError(
                "put @fabric.batched below @app.function(), next to the function, or on a method", code="bad_request"
            )
        if is_generator(function):
            raise InvalidError(f"{function.__name__} yields; a batched function returns a list", code="bad_request")
        if any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in signature_of(function)):
            raise InvalidError(
                f"{function.__name__} takes *args or **kwargs; a batched function names its parameters, each of which"
                " gets a list",
                code="bad_request",
            )
        function.__dict__["__fabric_batched__"] = {"max_batch_size": max_batch_size, "wait_ms": wait_ms}
        return function

    return mark


def _whole(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidError(f"{name} is {value!r}; it must be a whole number from {least} to {most}", code="bad_request")
