"""Maps: one call for each of many inputs, made together: `f.map`, `f.starmap`, `f.for_each` and `f.spawn_map`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import InvalidError
from .invocation import Invocation

if TYPE_CHECKING:
    from ._results import Results

__all__ = ["ForEachMethod", "MapMethod", "SpawnMapMethod"]

#: One input: positional and named arguments.
Call = tuple[tuple[Any, ...], Mapping[str, Any]]
#: Starts a map of these inputs; one that is awaited ends with its caller.
Start = Callable[[Iterable[Call], bool], "Results"]
#: Makes inputs of what the caller gives.
Gather = Callable[..., Iterable[Call]]


def zipped(*iterables: Iterable[Any], kwargs: Mapping[str, Any] | None = None) -> Iterable[Call]:
    """As `map(f, a, b)`: one argument of each iterable; the shortest one ends it."""
    if not iterables:
        raise InvalidError("map() needs at least one iterable", code="bad_request")
    named = dict(kwargs or {})
    return ((args, named) for args in zip(*iterables))


def starred(iterable: Iterable[Iterable[Any]], *, kwargs: Mapping[str, Any] | None = None) -> Iterable[Call]:
    """As `itertools.starmap(f, pairs)`: each item holds the positional arguments of one call."""
    named = dict(kwargs or {})
    return ((tuple(args), named) for args in iterable)


class MapMethod:
    """`for result in f.map(inputs)`, or `async for result in f.map.aio(inputs)`.

    The inputs are read on a thread of their own and sent on in pages, whether or not results are read: results come
    while inputs are still being sent, and both may be endless. Whoever leaves before the end cancels the map.
    """

    def __init__(self, start: Start, gather: Gather) -> None:
        self._start = start
        self._gather = gather

    def __call__(
        self,
        *iterables: Any,
        kwargs: Mapping[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        progress: bool = False,
    ) -> Generator[Any, None, None]:
        """Results, in the order of the inputs or as they come.

        Args:
            kwargs: named arguments of every call.
            order_outputs: in the order of the inputs; False gives each result as soon as it is there.
            return_exceptions: give exceptions as results instead of raising the first one, which cancels the others.
            progress: show a progress bar on stderr (needs tqdm).
        """
        results = self._start(self._gather(*iterables, kwargs=kwargs), True)
        yield from results.values(order_outputs, return_exceptions, progress)

    async def aio(
        self,
        *iterables: Any,
        kwargs: Mapping[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        progress: bool = False,
    ) -> AsyncGenerator[Any, None]:
        """The same without blocking the event loop."""
        results = self._start(self._gather(*iterables, kwargs=kwargs), True)
        values = results.values_async(order_outputs, return_exceptions, progress)
        try:
            async for value in values:
                yield value
        finally:
            await values.aclose()


class ForEachMethod:
    """`f.for_each(inputs)`: calls for their effects, waiting until all have ended."""

    def __init__(self, start: Start) -> None:
        self._map = MapMethod(start, zipped)

    def __call__(
        self,
        *iterables: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        ignore_exceptions: bool = False,
        progress: bool = False,
    ) -> None:
        """Raises the first exception, which cancels the others, unless they are ignored."""
        for _result in self._map(
            *iterables, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions, progress=progress
        ):
            pass

    async def aio(
        self,
        *iterables: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        ignore_exceptions: bool = False,
        progress: bool = False,
    ) -> None:
        """The same without blocking the event loop."""
        async for _result in self._map.aio(
            *iterables, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions, progress=progress
        ):
            pass


class SpawnMapMethod:
    """`f.spawn_map(inputs)`: sends all inputs and waits for none; the results are read by `Invocation.results()`."""

    def __init__(self, start: Start) -> None:
        self._start = start

    def __call__(self, *iterables: Iterable[Any], kwargs: Mapping[str, Any] | None = None) -> Invocation:
        """The map, once all its inputs are accepted."""
        return Invocation(self._start(zipped(*iterables, kwargs=kwargs), False).sent())

    async def aio(self, *iterables: Iterable[Any], kwargs: Mapping[str, Any] | None = None) -> Invocation:
        """The same without blocking the event loop."""
        from ._aio import in_thread

        return await in_thread(self, *iterables, kwargs=kwargs)
