"""The attempts in the user's hands, and which of them a piece of running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

Key = tuple[str, int]


class Attempt:
    """One try of an input, from the `input` frame until its outcome is sent."""

    __slots__ = (
        "accept_pickle",
        "body",
        "delivered",
        "encoding",
        "generation",
        "handle",
        "id",
        "path",
        "reason",
        "stream",
    )

    def __init__(self, header: dict[str, Any], body: bytes) -> None:
        self.id: str = header["id"]
        self.generation: int = header["generation"]
        self.encoding: str = header["encoding"]
        self.accept_pickle: bool = header["accept_pickle"]
        self.body = body
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

    @property
    def key(self) -> Key:
        return (self.id, self.generation)


#: Set where several attempts can run at once.
here: ContextVar[Attempt | None] = ContextVar("fabric_attempt", default=None)

running: dict[Key, Attempt] = {}


def current() -> Attempt | None:
    """The attempt the calling code belongs to; in a thread that user code started, the only one running, if so."""
    attempt = here.get()
    return attempt if attempt is not None and attempt.key in running else sole()


def sole() -> Attempt | None:
    """The running attempt when there is exactly one."""
    if len(running) != 1:
        return None
    return next(iter(running.copy().values()), None)
