"""The slices of maps in the user's hands, and those whose outcomes the runner has not acknowledged yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from . import attempts
from .attempts import Key

if TYPE_CHECKING:
    from .slice import Slice

#: Outcomes that wait for others to travel with wait no longer than this, also while the next input runs.
FLUSH_S = 0.02


class Poster(Protocol):
    """What slices need of the link."""

    def post(self, act: Callable[[], Any]) -> None: ...


class Slices:
    """`kept`: by key, until they are acknowledged."""

    def __init__(self, link: Poster) -> None:
        self._link = link
        self.kept: dict[Key, Slice] = {}

    def keep(self, slice: Slice) -> None:
        """From before it runs; its outcomes are flushed from time to time from now on."""
        self.kept[slice.attempt.key] = slice
        self._link.post(self.flush)

    def settle(self, slice: Slice) -> None:
        """Nothing of it runs any more."""
        attempts.running.pop(slice.attempt.key, None)
        slice.close()

    def frames(self) -> Iterator[bytes]:
        """All that was told, for a runner that came back."""
        for slice in list(self.kept.values()):
            yield from slice.told

    def flush(self) -> None:
        """Outcomes do not wait for a slice's next one, which may take long."""
        for slice in list(self.kept.values()):
            slice.flush()
