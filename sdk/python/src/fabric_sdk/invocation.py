"""Invocation: one call, to wait for, look at or cancel."""

from __future__ import annotations

from typing import Any

__all__ = ["Invocation"]


class Invocation:
    """Made by `spawn`, or by `Invocation.from_id` in another process or later."""

    def __init__(self, id: str) -> None:
        self.id = id

    @classmethod
    def from_id(cls, id: str) -> Invocation:
        """An invocation that was made earlier. Nothing is sent before a method is called."""
        return cls(id)

    def get(self, timeout: float | None = None) -> Any:
        """The result, waiting for it up to `timeout` seconds (None: as long as it takes). Raises what the function
        raised, or WaitTimeoutError."""
        from ._client import calls

        return calls.get(self.id, timeout)

    def status(self) -> dict[str, Any]:
        """What the gateway knows: `state`, and `reason` while it has not ended."""
        from ._client import calls

        return calls.status(self.id)

    def cancel(self) -> None:
        """Ask for its end. One that has ended already is left as it is."""
        from ._client import calls

        calls.cancel(self.id)

    def __repr__(self) -> str:
        return f"<fabric.Invocation {self.id}>"
