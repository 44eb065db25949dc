"""Whether this process is a function container, and how its code then reaches its runner: set by the shim, once."""

from __future__ import annotations

from typing import Any, Protocol


class Channel(Protocol):
    """What the shim offers to `fabric.train` and `Checkpoint` inside a container."""

    def attempt(self) -> tuple[str, int]:
        """Invocation id and generation of the attempt that the calling code belongs to."""

    def series(self, name: str, resume: bool) -> dict[str, Any]:
        """Choose the series the attempt writes: {"series", "next_step"}."""

    def report(self, metrics: dict[str, Any], directory: str | None, step: int | None) -> int:
        """Save a copy of `directory` with its metrics, or the metrics alone; the step it got."""

    def restore(
        self, series: str | None, step: int | None, metric: str | None, order: str | None
    ) -> dict[str, Any] | None:
        """Bring a checkpoint's files: {"path", "series", "step", "metrics"}, or None when there is none."""


_channel: Channel | None = None


def install(channel: Channel | None) -> None:
    """Called by the shim before the user's module is imported."""
    global _channel
    _channel = channel


def current() -> Channel | None:
    """The channel, or None outside function containers."""
    return _channel
