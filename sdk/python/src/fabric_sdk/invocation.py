"""Invocation: one call, to wait for, look at or cancel."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ._calls import calls
from ._method import Method
from .generator import check_rule

__all__ = ["Invocation"]


class Invocation:
    """Made by `spawn`, or by `Invocation.from_id` in another process or later."""

    def __init__(self, id: str) -> None:
        self.id = id

    @classmethod
    def from_id(cls, id: str) -> Invocation:
        """An invocation that was made earlier. Nothing is sent before a method is called."""
        return cls(id)

    @property
    def get(self) -> Method[Any]:
        """`get(timeout=None)`: the result, waiting for it up to `timeout` seconds (None: as long as it takes). Raises
        what the function raised, or WaitTimeoutError."""
        return Method(self._get, self._get_aio)

    @property
    def status(self) -> Method[dict[str, Any]]:
        """`status()`: what is known: `state`, `reason` while it has not ended, `children` (the calls it made)."""
        return Method(self._status, self._status_aio)

    def get_gen(self, *, on_restart: str = "raise") -> Generator[Any, None, Any]:
        """What a generator function yields, from its first value on; leaving early cancels nothing. See
        `GeneratorMethod.on_restart`."""
        check_rule(on_restart)
        return calls().follow(self.id, on_restart).values()

    def results(
        self, *, order_outputs: bool = True, return_exceptions: bool = False, progress: bool = False
    ) -> Generator[Any, None, None]:
        """What the inputs of a map returned, from the first one on; leaving early cancels nothing. See `map`."""
        return calls().results(self.id).values(order_outputs, return_exceptions, progress)

    @property
    def cancel(self) -> Method[None]:
        """`cancel()`: ask for its end, and that of the calls it made. One that has ended already is left as it is."""
        return Method(self._cancel, self._cancel_aio)

    def __repr__(self) -> str:
        return f"<fabric.Invocation {self.id}>"

    def _get(self, timeout: float | None = None) -> Any:
        return calls().get(self.id, timeout)

    async def _get_aio(self, timeout: float | None = None) -> Any:
        return await calls().get_aio(self.id, timeout)

    def _status(self) -> dict[str, Any]:
        return calls().status(self.id)

    async def _status_aio(self) -> dict[str, Any]:
        return await calls().status_aio(self.id)

    def _cancel(self) -> None:
        calls().cancel(self.id)

    async def _cancel_aio(self) -> None:
        await calls().cancel_aio(self.id)
