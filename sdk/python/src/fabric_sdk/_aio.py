"""Awaiting blocking calls: each runs on a thread of a pool that grows to as many as wait at once."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

R = TypeVar("R")

_MOST = 200
_pool = ThreadPoolExecutor(_MOST, thread_name_prefix="fabric-call")


async def in_thread(call: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """The call's result, the event loop left free meanwhile."""
    here = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_pool, functools.partial(here.run, call, *args, **kwargs))
