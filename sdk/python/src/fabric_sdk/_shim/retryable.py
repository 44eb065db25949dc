"""Whether the function's policy lets an exception be tried again, judged where its classes are."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_wanted: Sequence[str] = ()
_unwanted: Sequence[str] = ()


def install(rules: Mapping[str, Sequence[str]] | None) -> None:
    """The `retry` part of a `start` frame."""
    global _wanted, _unwanted
    _wanted = rules["retry_for"] if rules else ()
    _unwanted = rules["dont_retry_for"] if rules else ()


def is_final(error: BaseException) -> bool:
    """True where the policy names classes and they exclude this exception."""
    if any(_is_a(error, name) for name in _unwanted):
        return True
    return bool(_wanted) and not any(_is_a(error, name) for name in _wanted)


def _is_a(error: BaseException, name: str) -> bool:
    """By class, also where the name is an alias of it; by the names of its classes where they cannot be looked up, as
    those of scripts, which travel by value."""
    for kind in type(error).__mro__:
        if name in (f"{kind.__module__}.{kind.__qualname__}", kind.__qualname__):
            return True
    found = _find(name)
    return isinstance(found, type) and isinstance(error, found)


def _find(name: str) -> Any:
    """Without importing: what raised the exception has imported its classes."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            for part in parts[length:]:
                found = getattr(found, part, None)
            return found
    return getattr(builtins, name, None)
