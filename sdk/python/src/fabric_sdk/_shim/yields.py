"""Generators: what they yield leaves as it comes, held back while too much of it is not stored yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from ..errors import InputCancelled
from . import outcome
from .attempts import Attempt
from .frames import CHUNK_BYTES

if TYPE_CHECKING:
    from .link import Link


def drive(
    attempt: Attempt,
    generator: GeneratorType[Any, None, Any],
    link: Link,
    arm: Callable[[Attempt], object],
    disarm: Callable[[Attempt], object],
) -> Any:
    """Runs the generator to its end; its return value. Between `arm` and `disarm` the user's code may be interrupted.

    What goes wrong with a value is raised where it was yielded, so that the generator can clean up.
    """
    woken = threading.Event()
    attempt.wake = woken.set
    try:
        while True:
            value = next(generator)
            disarm(attempt)
            encoding, data = _encoded(attempt, value)
            while attempt.reason is None and not link.offer_chunk(attempt, encoding, data):
                woken.wait()
                woken.clear()
            arm(attempt)
            if attempt.reason is not None:
                attempt.delivered = True
                raise InputCancelled(attempt.reason)
    except StopIteration as end:
        return end.value
    except BaseException as error:
        if generator.gi_frame is not None:
            arm(attempt)
            try:
                generator.throw(error)
                generator.close()
            except StopIteration:
                pass  # it caught the error and returned, which does not mend it
        raise
    finally:
        attempt.wake = None


async def drive_async(attempt: Attempt, generator: AsyncGeneratorType[Any, None], link: Link) -> None:
    """The same for an asynchronous generator; its task is cancelled where the input shall end."""
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    attempt.wake = lambda: loop.call_soon_threadsafe(woken.set)
    try:
        async for value in generator:
            if attempt.reason is not None:
                raise asyncio.CancelledError
            encoding, data = _encoded(attempt, value)
            while not link.offer_chunk(attempt, encoding, data):
                woken.clear()
                await woken.wait()
    except BaseException as error:
        if generator.ag_frame is not None:
            try:
                await generator.athrow(error)
                await generator.aclose()
            except StopAsyncIteration:
                pass  # as above
        raise
    finally:
        attempt.wake = None


def _encoded(attempt: Attempt, value: Any) -> tuple[str, bytes]:
    encoding, data = outcome.encoded(attempt, value, "value it yielded")
    if len(data) > CHUNK_BYTES:
        raise outcome.NotSendable(
            "chunk_too_large",
            f"the function yielded a value of {len(data)} bytes; {CHUNK_BYTES} is the most: yield smaller parts",
        )
    return encoding, data
