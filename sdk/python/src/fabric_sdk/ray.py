"""Ray itself on a gang: a head on rank 0, a worker on every other rank, and nothing of it left when the block ends.

    @app.function(gang=3, cpu=4, memory=8192, preload=["ray"])
    def tune() -> float:
        with fabric.ray.cluster() as cluster:
            if cluster.is_head:
                return search()        # unmodified Ray code: Ray Train, Tune, Data

The image has to have ray: `Image.python("3.12").pip_install("ray[default]")`. Ranks beside the head wait at the end of
the block until the head has left it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import InvalidError

__all__ = ["Cluster", "cluster"]

_POLL_S = 0.1
_STOP_S = 10.0
_LAST_BYTES = 4000


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that stands."""

    #: `host:port` of Ray's GCS, which `RAY_ADDRESS` names on the head's rank, so that `ray.init()` connects to it.
    address: str
    is_head: bool


@contextmanager
def cluster(
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    object_store_memory: int | None = None,
    timeout: float = 120.0,
) -> Iterator[Cluster]:
    """A Ray cluster of this gang's containers, for as long as the block runs. Every rank has to enter it.

    Args:
        num_cpus: Ray's CPUs of each container; the cores the function reserves, when absent.
        num_gpus: Ray's GPUs of each container; those it was granted, when absent.
        object_store_memory: bytes of each container's object store; four fifths of its `/dev/shm`, when absent.
        timeout: seconds until all containers have to have joined.

    Raises:
        InvalidError: outside of a gang, or where containers have several ranks (`procs=1` is what Ray wants).
        RuntimeError: Ray did not start or did not come together in time; the message has its last lines.
    """
    world = _whole("WORLD_SIZE")
    if _whole("LOCAL_WORLD_SIZE") != 1:
        raise _invalid("takes gangs with one rank in each container: procs=1")
    limits = {
        "num-cpus": num_cpus if num_cpus is not None else max(1, int(os.environ.get("FABRIC_RANK_THREADS", "1"))),
        "num-gpus": num_gpus,
        "object-store-memory": object_store_memory or shutil.disk_usage("/dev/shm").free * 4 // 5,
    }
    given = [f"--{name}={value}" for name, value in limits.items() if value is not None]
    deadline = time.monotonic() + timeout
    meeting = (os.environ["MASTER_ADDR"], _whole("MASTER_PORT"))
    with ExitStack() as stack:
        if _whole("RANK") == 0:
            yield from _head(stack, meeting, world, given, deadline)
        else:
            yield from _worker(stack, meeting, given, deadline)


def _head(
    stack: ExitStack, meeting: tuple[str, int], world: int, given: list[str], deadline: float
) -> Iterator[Cluster]:
    host = socket.gethostbyname(meeting[0])
    listener = stack.enter_context(socket.create_server(("", meeting[1]), backlog=world))
    port = _free_port(host)
    address = f"{host}:{port}"
    own = [f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"]
    node = stack.enter_context(_node(["--head", *own, *given]))
    for _ in range(world - 1):
        listener.settimeout(max(_POLL_S, deadline - time.monotonic()))
        try:
            worker = stack.enter_context(listener.accept()[0])
        except socket.timeout:
            raise RuntimeError("not all ranks have entered fabric.ray.cluster()") from None
        worker.sendall(address.encode() + b"\n")
    _come_together(address, world, node, deadline)
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = address
    try:
        yield Cluster(address, is_head=True)
    finally:
        _leave_ray()
        if before is None:
            del os.environ["RAY_ADDRESS"]
        else:
            os.environ["RAY_ADDRESS"] = before


def _worker(stack: ExitStack, meeting: tuple[str, int], given: list[str], deadline: float) -> Iterator[Cluster]:
    head = stack.enter_context(_connect(meeting, deadline))
    own = head.getsockname()[0]
    with head.makefile() as lines:
        address = lines.readline().strip()
        if not address:
            raise RuntimeError("the head of the Ray cluster has ended before it stood")
        node = stack.enter_context(_node([f"--address={address}", f"--node-ip-address={own}", *given]))
        yield Cluster(address, is_head=False)
        head.settimeout(_POLL_S * 5)
        while True:
            try:
                if head.recv(1) == b"":
                    return  # the head has left
            except socket.timeout:
                node.check()


class _Node:
    """`ray start --block`: what Ray runs on this container."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process = process
        self._output = output

    def check(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise RuntimeError(f"ray start ended with exit code {code}: {self.last_lines()}")

    def last_lines(self) -> str:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _LAST_BYTES))
        return self._output.read().decode("utf-8", "replace").strip()


@contextmanager
def _node(arguments: list[str]) -> Iterator[_Node]:
    # The same on all ranks: Ray uses the head's everywhere. Sockets in it have paths of 107 bytes at most.
    folder = Path("/tmp", f"ray-{zlib.crc32(os.environ['TORCHELASTIC_RUN_ID'].encode()):08x}")
    folder.mkdir(mode=0o700, exist_ok=True)
    temporary = [f"--temp-dir={folder}"] if "--head" in arguments else []
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    try:
        with open(folder / f"rank-{os.environ['RANK']}", "w+b") as output:
            process = subprocess.Popen([*command, *temporary, *arguments], stdout=output, stderr=subprocess.STDOUT)
            try:
                yield _Node(process, output)
            finally:
                _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # on one machine another rank may be at it, too


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM has it end what it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _come_together(address: str, world: int, node: _Node, deadline: float) -> None:
    import ray  # the image's, not this module

    _until(lambda: _answers(address), node, deadline)
    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    try:
        _until(lambda: sum(one["Alive"] for one in ray.nodes()) == world, node, deadline)
    finally:
        ray.shutdown()


def _until(holds: Callable[[], bool], node: _Node, deadline: float) -> None:
    while not holds():
        node.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Ray cluster did not come together in time: {node.last_lines()}")
        time.sleep(_POLL_S)


def _answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _connect(meeting: tuple[str, int], deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(meeting, max(_POLL_S, deadline - time.monotonic()))
        except OSError as error:  # the head is not there yet
            if time.monotonic() > deadline:
                raise RuntimeError(f"rank 0 has not entered fabric.ray.cluster(): {error}") from error
            time.sleep(_POLL_S)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def _leave_ray() -> None:
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()


def _whole(name: str) -> int:
    try:
        return int(os.environ[name])
    except KeyError:
        raise _invalid("works inside of functions with gang=") from None


def _invalid(rule: str) -> InvalidError:
    return InvalidError(f"fabric.ray.cluster() {rule}", code="bad_request")
