"""Finds the user's code: a qualified name in a module of the bundle, or a pickle at the bundle's root."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .._parts import bound, construct, hooks, methods, raw
from .frames import Header

Function = Callable[..., Any]


class EnterError(Exception):
    """A class' @enter method raised its `__cause__`."""


class Code:
    """What a container runs: one function, named None, or the methods of a class' instance."""

    def __init__(self, functions: Mapping[str | None, Function], instance: Any = None) -> None:
        self.functions = functions
        self._instance = instance
        self._loop: Any = None

    def enter(self, loop: Any = None) -> None:
        """Before the first input. Coroutines run on `loop`, which methods use as well, else on one of their own."""
        self._loop = loop
        for name, hook in self._hooks("enter"):
            try:
                self._finish(hook(self._instance))
            except BaseException as error:  # also what a sys.exit() raises
                raise EnterError(f"{type(self._instance).__name__}.{name}") from error

    def exit(self) -> BaseException | None:
        """After the last input: all of them, also where one fails; the last failure."""
        failure: BaseException | None = None
        for _name, hook in self._hooks("exit"):
            try:
                self._finish(hook(self._instance))
            except BaseException as error:
                failure = error
        return failure

    def _hooks(self, part: str) -> list[tuple[str, Function]]:
        return [] if self._instance is None else list(hooks(type(self._instance), part).items())

    def _finish(self, result: Any) -> None:
        if not inspect.iscoroutine(result):
            return
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(result)


def load(start: Header) -> Code:
    """What a `start` frame names. Imports the user's module: anything may be raised."""
    bundle, function = start["bundle"], start["function"]
    if any(one["is_async"] for one in called(function).values()):
        import asyncio  # noqa: F401 (before a module of the bundle can take a standard module's name)
    os.chdir(start["scratch"])
    sys.path[:] = [bundle, *(path for path in sys.path if path not in ("", bundle))]
    sys.argv[:] = [function["entry"].get("module", "")]
    for module in function.get("preload") or ():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(f"preload names {module}, which the image cannot import: {error}") from error
    found = _find(bundle, function["entry"])
    if "class" in function:
        return _instance(found, function)
    plain = getattr(found, "__fabric_function__", found)
    if not callable(plain):
        raise TypeError(f"{function['name']} is a {type(plain).__name__}, not a function")
    return Code({None: plain})


def called(function: Header) -> dict[str | None, Header]:
    """By method, how each is called."""
    if "class" in function:
        return {method["name"]: method for method in function["class"]["methods"]}
    return {None: function}


def _find(bundle: str, entry: Header) -> Any:
    if "pickle" in entry:
        import pickle

        with open(os.path.join(bundle, entry["pickle"]), "rb") as file:
            return pickle.load(file)
    found = importlib.import_module(entry["module"])
    for part in entry["qualname"].split("."):
        found = raw(getattr(found, part))
    return found


def _instance(found: Any, function: Header) -> Code:
    plain = getattr(found, "__fabric_class__", found)
    if not isinstance(plain, type):
        raise TypeError(f"{function['name']} is a {type(plain).__name__}, not a class")
    instance = construct(plain, function["class"]["parameters"], carried=True)
    there = methods(plain)
    return Code({name: bound(there[name], instance) for name in called(function) if name}, instance)
