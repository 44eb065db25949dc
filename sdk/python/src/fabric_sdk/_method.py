"""A blocking call with an awaitable twin."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Method(Generic[R]):
    """A blocking call with an awaitable twin: `f.remote(...)` and `await f.remote.aio(...)`."""

    def __init__(self, call: Callable[..., R], aio: Callable[..., Awaitable[R]]) -> None:
        self._call = call
        self._aio = aio
        functools.update_wrapper(self, call, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self._call(*args, **kwargs)

    async def aio(self, *args: Any, **kwargs: Any) -> R:
        """The same without blocking the event loop."""
        return await self._aio(*args, **kwargs)
