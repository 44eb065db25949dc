"""Finds the user's function: a qualified name in a module of the bundle, or a pickle at the bundle's root."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from .frames import Header


def load(start: Header) -> Callable[..., Any]:
    """The plain function that a `start` frame names. Imports the user's module: anything may be raised."""
    bundle, function = start["bundle"], start["function"]
    entry = function["entry"]
    if function["is_async"]:
        import asyncio  # noqa: F401 (before a module of the bundle can take a standard module's name)
    os.chdir(start["scratch"])
    sys.path[:] = [bundle, *(path for path in sys.path if path not in ("", bundle))]
    sys.argv[:] = [entry.get("module", "")]
    if "pickle" in entry:
        import pickle

        with open(os.path.join(bundle, entry["pickle"]), "rb") as file:
            found = pickle.load(file)
    else:
        found = importlib.import_module(entry["module"])
        for part in entry["qualname"].split("."):
            found = getattr(found, part)
    plain = getattr(found, "__fabric_function__", found)
    if not callable(plain):
        raise TypeError(f"{function['name']} is a {type(plain).__name__}, not a function")
    function_found: Callable[..., Any] = plain
    return function_found
