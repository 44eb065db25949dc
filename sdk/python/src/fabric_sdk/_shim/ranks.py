"""The processes a gang's shim has forked: their pipes, their ends, and killing what they leave behind."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from .frames import encode

Key = tuple[str, int]

_CHUNK = 64 * 1024
#: Where the kernel counts what it killed for memory in this container; the first is cgroup v2's.
_OOM_COUNTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class _Pipe:
    def __init__(self, read: int, source: str) -> None:
        self.read = read
        self.source = source
        #: A line whose end has not come.
        self.tail = b""


class _Rank:
    def __init__(self, key: Key, number: int, pid: int, pipes: list[_Pipe]) -> None:
        self.key = key
        self.number = number
        self.pid = pid
        self.pipes = pipes
        self.oom_kills = oom_kills()


class Ranks:
    """Used by the one thread there is."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._poll: select.poll | None = None
        self._by_pid: dict[int, _Rank] = {}
        self._by_fd: dict[int, tuple[_Rank, _Pipe]] = {}

    def watch(self, poll: select.poll) -> None:
        self._poll = poll

    def fork(self, key: Key, number: int) -> bool:
        """True in the child, whose descriptors 1 and 2 lead to its parent."""
        ends = [os.pipe(), os.pipe()]
        pid = os.fork()
        if pid == 0:
            os.setsid()  # a group of its own, that is killed as one
            for fd, (read, write) in zip((1, 2), ends):
                os.dup2(write, fd)
                os.close(write)
                os.close(read)
            return True
        pipes = []
        for (read, write), source in zip(ends, ("stdout", "stderr")):
            os.close(write)
            os.set_blocking(read, False)
            pipes.append(_Pipe(read, source))
        one = self._by_pid[pid] = _Rank(key, number, pid, pipes)
        for pipe in pipes:
            self._by_fd[pipe.read] = (one, pipe)
            if self._poll is not None:
                self._poll.register(pipe.read, select.POLLIN)
        return False

    def leave_to_child(self) -> None:
        """In a child: what the parent has of the others is not its own."""
        for fd in self._by_fd:
            os.close(fd)
        self._by_fd.clear()
        self._by_pid.clear()

    def pull(self, fd: int) -> None:
        """Send on what is there; of descriptors that are no rank's, nothing."""
        found = self._by_fd.get(fd)
        if found is None:
            return
        one, pipe = found
        while True:
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._close(pipe)
                return
            self._lines(one, pipe, data)

    def reap(self) -> None:
        """Tell of each that has ended; in a container, also of orphans, which nobody waits for."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            one = self._by_pid.pop(pid, None)
            if one is not None:
                self._ended(one, os.waitstatus_to_exitcode(status))

    def kill(self, key: Key) -> None:
        """Their ends are told as they come."""
        for one in self._by_pid.values():
            if one.key == key:
                _kill(one.pid)

    def kill_all(self) -> None:
        for one in self._by_pid.values():
            _kill(one.pid)

    def _ended(self, one: _Rank, code: int) -> None:
        _kill_group(one.pid)  # data loaders and the like; a container's others may be of ranks that still run
        for pipe in one.pipes:
            if pipe.read in self._by_fd:
                self.pull(pipe.read)
            if pipe.read in self._by_fd:  # somebody outside the group still holds it
                self._close(pipe)
            if pipe.tail:
                self._emit(one, pipe, pipe.tail)
        told = {"type": "rank_ended", "id": one.key[0], "generation": one.key[1], "rank": one.number}
        exit_code = 128 - code if code < 0 else code
        self._send(encode({**told, "code": exit_code, "out_of_memory": oom_kills() > one.oom_kills}))
        if not self._by_pid and os.getpid() == 1:
            _kill_everything()

    def _close(self, pipe: _Pipe) -> None:
        if self._poll is not None:
            self._poll.unregister(pipe.read)
        del self._by_fd[pipe.read]
        os.close(pipe.read)

    def _lines(self, one: _Rank, pipe: _Pipe, data: bytes) -> None:
        data = pipe.tail + data
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > _CHUNK:
            cut = len(data)
        pipe.tail = data[cut:]
        for at in range(0, cut, _CHUNK):
            self._emit(one, pipe, data[at : min(at + _CHUNK, cut)])

    def _emit(self, one: _Rank, pipe: _Pipe, data: bytes) -> None:
        header = {"type": "log", "id": one.key[0], "source": pipe.source, "rank": one.number}
        self._send(encode(header, data.decode("utf-8", "replace").encode()))


def oom_kills() -> int:
    """How often the kernel has killed for memory here; 0 where it does not say."""
    for path in _OOM_COUNTS:
        try:
            with open(path, encoding="ascii") as file:
                counts = dict(line.split(maxsplit=1) for line in file if " " in line)
        except OSError:
            continue
        return int(counts.get("oom_kill", 0))
    return 0


def kill_leftovers(leader: int) -> None:
    """What a process that has ended leaves running."""
    _kill_group(leader)
    if os.getpid() == 1:
        _kill_everything()


def _kill(pid: int) -> None:
    """One that has not been waited for; it may not have its group yet."""
    os.kill(pid, signal.SIGKILL)
    _kill_group(pid)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody is left of it


def _kill_everything() -> None:
    """In a container of our own: what has left its group, too."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
