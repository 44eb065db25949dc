"""The attempts in the user's hands, and which of them a piece of running code belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .slice import Slice

Key = tuple[str, int]


class Attempt:
    """One try of an input, from the `input` frame until its outcome is sent."""

    __slots__ = (
        "accept_pickle",
        "behind",
        "body",
        "delivered",
        "encoding",
        "generation",
        "handle",
        "id",
        "keep",
        "method",
        "path",
        "per_rank",
        "reason",
        "slice",
        "stream",
        "wake",
    )

    def __init__(self, header: dict[str, Any], body: bytes) -> None:
        self.id: str = header["id"]
        self.generation: int = header["generation"]
        #: Of a class.
        self.method: str | None = header.get("method")
        self.encoding: str = header.get("encoding", "json")
        self.accept_pickle: bool = header["accept_pickle"]
        self.body = body
        #: The inputs, when it is a slice of a map.
        self.slice: Slice | None = None
        #: The spooled body, when it came as a stream.
        self.path: str | None = None
        #: "cancelled" or "timed_out" once the runner wants it to end.
        self.reason: str | None = None
        #: Has the user's code been told?
        self.delivered = False
        #: The thread or task that runs it, for whoever cancels.
        self.handle: Any = None
        #: Number of the stream that brings the body, until it is whole.
        self.stream: int | None = None
        #: The checkpoint that is being saved behind the function.
        self.behind: Future[int] | None = None
        #: Which checkpoints of its series stay, as a report tells it.
        self.keep: dict[str, Any] | None = None
        #: Are metrics of all ranks of its gang kept?
        self.per_rank = False
        #: Tells whoever waits to send a chunk to look again.
        self.wake: Callable[[], object] | None = None

    @property
    def key(self) -> Key:
        return (self.id, self.generation)


#: Set where several attempts can run at once.
here: ContextVar[Attempt | None] = ContextVar("fabric_attempt", default=None)

#: Those that one call of a batched function serves, in whatever runs it.
batch: ContextVar[list[Attempt] | None] = ContextVar("fabric_batch", default=None)

running: dict[Key, Attempt] = {}


def current() -> Attempt | None:
    """The attempt the calling code belongs to; in a thread that user code started, the only one running, if so."""
    attempt = here.get()
    return attempt if attempt is not None and attempt.key in running else sole()


def asking() -> Attempt | None:
    """The attempt in whose name the calling code asks its runner: of a batch, any that is still inside."""
    inside = batch.get()
    return current() if inside is None else next((attempt for attempt in inside if attempt.key in running), None)


def sole() -> Attempt | None:
    """The running attempt when there is exactly one."""
    if len(running) != 1:
        return None
    return next(iter(running.copy().values()), None)
