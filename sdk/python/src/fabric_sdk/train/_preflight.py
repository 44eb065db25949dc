"""Whether all ranks of a gang reach each other, told by name within seconds. Imports torch where it is used."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ..errors import PreflightError

__all__ = ["Meeting", "all_reduce", "arrive", "connect", "meeting"]

_SHOWN = 16
_POLL_S = 0.05
_LAST_LOOK_S = 1.0


class Meeting:
    """Where ranks meet, who of them this is, and for how long they wait for each other."""

    def __init__(self, rank: int, world: int, seconds: float) -> None:
        self.rank = rank
        self.world = world
        self.seconds = seconds
        self.limit = timedelta(seconds=seconds)
        self.address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"


def meeting(at: Meeting) -> Any:
    """The store of rank 0, for as long as the attempt lasts."""
    from torch import distributed

    host, _, port = at.address.rpartition(":")
    with _telling(at, "did not reach rank 0"):
        return distributed.TCPStore(
            host, int(port), at.world, at.rank == 0, timeout=at.limit, wait_for_workers=False, **_no_libuv()
        )


def arrive(at: Meeting, store: Any) -> list[str]:
    """Say that this rank is there, and wait for all others: where each of them is."""
    # The store goes with rank 0, who therefore lets the others look first.
    deadline = time.monotonic() + at.seconds + (_LAST_LOOK_S if at.rank == 0 else 0)
    with _telling(at, "lost rank 0's store"):
        store.set(f"place/{at.rank}", _whereabouts())
        store.add(f"here/{at.rank}", 1)
        store.add("here", 1)
        # Adding nothing is the one way to look that never waits, in all versions of torch.
        while store.add("here", 0) < at.world and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        there = [rank for rank in range(at.world) if store.add(f"here/{rank}", 0) > 0]
        places = {rank: store.get(f"place/{rank}").decode() for rank in there}
    missing = [rank for rank in range(at.world) if rank not in places]
    if missing:
        named = f"rank{'s' if len(missing) > 1 else ''} {_listed(missing)}"
        raise PreflightError(
            f"{named} of {at.world} did not arrive at {at.address} within {at.seconds:g} s; there are {_told(places)}"
        )
    return [places[rank] for rank in range(at.world)]


def connect(at: Meeting, backend: str, store: Any, places: list[str]) -> None:
    """Make a process group whose connections do not wait for long."""
    from torch import distributed

    with _telling(at, f"could not connect over {backend}", dict(enumerate(places))):
        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore("preflight", store),
            rank=at.rank,
            world_size=at.world,
            timeout=at.limit,
        )


def all_reduce(at: Meeting, places: list[str], group: Any = None) -> None:
    """Each rank adds one, over the connections that training will use."""
    import torch
    from torch import distributed

    from .torch import get_device

    backend = distributed.get_backend(group)
    total = torch.ones(1, device=get_device() if backend == "nccl" else "cpu")
    with _telling(at, f"could not all-reduce over {backend}", dict(enumerate(places))):
        work = distributed.all_reduce(total, group=group, async_op=True)
        work.wait(at.limit)
        found = int(total.item())
    if found != at.world:
        raise PreflightError(f"rank {at.rank}: an all-reduce over {backend} gave {found} instead of {at.world}")


@contextmanager
def _telling(at: Meeting, what: str, places: dict[int, str] | None = None) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:  # what torch raises, of every kind
        others = f"; there are {_told(places)}" if places else ""
        raise PreflightError(
            f"rank {at.rank} of {at.world} ({_whereabouts()}) {what} at {at.address} within {at.seconds:g} s:"
            f" {str(error).strip().splitlines()[0]}{others}"
        ) from error


def _whereabouts() -> str:
    """By which interface and address this rank reaches the others."""
    name = os.environ.get("NCCL_SOCKET_IFNAME") or os.environ.get("GLOO_SOCKET_IFNAME") or "any interface"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((os.environ["MASTER_ADDR"], 9))  # sends nothing
            return f"{name} {probe.getsockname()[0]}"
    except OSError as error:
        return f"{name}, no way there: {error}"


def _told(places: dict[int, str]) -> str:
    more = "" if len(places) <= _SHOWN else f" and {len(places) - _SHOWN} more"
    return ", ".join(f"rank {rank} ({place})" for rank, place in list(places.items())[:_SHOWN]) + more


def _listed(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks[:_SHOWN])) + (f" and {len(ranks) - _SHOWN} more" if len(ranks) > _SHOWN else "")


def _no_libuv() -> dict[str, bool]:
    """Debian's torch is built without it, and old ones do not know the word."""
    from torch import __version__

    return {"use_libuv": False} if tuple(map(int, __version__.split(".")[:2])) >= (2, 2) else {}
