"""Whether this process is a function container, and how its code then reaches its runner: set by the shim, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._calls import Calls


class Channel(Protocol):
    """What the shim offers inside a container."""

    @property
    def calls(self) -> Calls:
        """Calling functions through the runner."""

    def attempt(self) -> tuple[str, int]:
        """Invocation id and generation of the attempt that the calling code belongs to."""

    def series(self, name: str, resume: bool) -> dict[str, Any]:
        """Choose the series the attempt writes: {"series", "next_step"}."""

    def report(self, metrics: dict[str, Any], directory: str | None, step: int | None) -> int:
        """Save a copy of `directory` with its metrics, or the metrics alone; the step it got."""

    def save_behind(self, metrics: dict[str, Any], directory: str | None, step: int | None, given: bool) -> Future[int]:
        """Like `report`, but returns once `directory` may change: the future has the step when it is stored.

        With `given` the directory is the runner's from now on. Waits for the one before, and raises if it failed."""

    def keep(self, num_to_keep: int | None, attribute: str | None, order: str, per_rank: bool) -> None:
        """Which checkpoints of its series the attempt's later saves leave, and whether each rank's metrics are kept."""

    def restore(
        self, series: str | None, step: int | None, metric: str | None, order: str | None, at: str | None = None
    ) -> dict[str, Any] | None:
        """Bring a checkpoint's files: {"path", "series", "step", "metrics"}, or None when there is none."""

    def find(
        self, series: str | None, step: int | None, metric: str | None, order: str | None, at: str | None = None
    ) -> dict[str, Any] | None:
        """Which checkpoint `restore` would bring: {"series", "step", "metrics"}."""

    def dataset_files(self, url: str) -> list[str]:
        """URLs of the files at, or below, one in the bucket."""

    def dataset(self, url: str) -> str:
        """Bring one of them: its path, in a folder of its own, which the caller removes."""


_channel: Channel | None = None


def install(channel: Channel | None) -> None:
    """Called by the shim before the user's module is imported."""
    global _channel
    _channel = channel


def current() -> Channel | None:
    """The channel, or None outside function containers."""
    return _channel
