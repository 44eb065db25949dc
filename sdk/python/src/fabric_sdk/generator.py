"""GeneratorMethod: what `f.remote_gen` of a generator function is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Callable

from .errors import InvalidError

if TYPE_CHECKING:
    from ._reader import Reader

__all__ = ["GeneratorMethod"]

_RULES = ("raise", "continue")


class GeneratorMethod:
    """`for value in f.remote_gen(...)`, or `async for value in f.remote_gen.aio(...)`.

    The call is made when the first value is asked for. Values come as they are yielded, also through lost connections.
    Whoever leaves before the end (`break`, `close()`, an exception) cancels the invocation, for nobody reads on.
    """

    def __init__(self, reader: Callable[..., Reader], on_restart: str = "raise") -> None:
        self._reader = reader
        self._rule = on_restart

    def __call__(self, *args: Any, **kwargs: Any) -> Generator[Any, None, Any]:
        """Values as they come; the return value is the function's, the exception at the end the original one."""
        return self._reader(args, kwargs, self._rule).values()

    def aio(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """The same without blocking the event loop."""
        return self._reader(args, kwargs, self._rule).values_async()

    def on_restart(self, rule: str) -> GeneratorMethod:
        """What happens when an attempt fails half-way and another one starts over.

        "raise", the default: GeneratorRestarted, so that values of two attempts are never mixed. "continue": the values
        that were there already are skipped when they are yielded again; for generators that always yield the same.
        """
        check_rule(rule)
        return GeneratorMethod(self._reader, rule)


def check_rule(rule: str) -> None:
    if rule not in _RULES:
        raise InvalidError(f'on_restart is {rule!r}; it must be "raise" or "continue"', code="bad_request")
