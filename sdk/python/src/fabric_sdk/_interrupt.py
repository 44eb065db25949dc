"""A script that Ctrl-C ends while it waits for fabric says in one line what becomes of its calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

__all__ = ["tell", "telling"]

_WORDS = "__fabric_words__"


@contextmanager
def telling(words: str) -> Iterator[None]:
    """An interrupt inside the block is told in these words, if nobody catches it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        tell(interrupt, words)
        raise


def tell(interrupt: KeyboardInterrupt, words: str) -> None:
    """Where the script ends by this interrupt, the words replace its traceback, and what was told before."""
    setattr(interrupt, _WORDS, words)
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)


class _Hook:
    def __init__(self, otherwise: Callable[[type[BaseException], BaseException, TracebackType | None], Any]) -> None:
        self._otherwise = otherwise

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        words = getattr(error, _WORDS, None)
        if words is None:
            self._otherwise(kind, error, trace)
        else:
            print(f"interrupted: {words}", file=sys.stderr)
