"""A rank of a gang: a fork of its container's shim, and a shim of its own for one attempt."""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import io
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from .. import _channel
from . import complaint, retryable
from .__main__ import Shim, behave_as_a_child
from .attempts import Attempt
from .execute import EventLoop, Executor, MainThread
from .frames import Header
from .load import Code, called
from .operations import RunnerChannel
from .output import Output

#: For the acknowledgement, which comes when the result is stored; the parent ends us when there is no runner any more.
_ACKNOWLEDGED_S = 30 * 86_400.0
_READ_S = 1.0
_DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages/"
_SIOCGIFADDR = 0x8915


class _ReadByParent(Output):
    """Descriptors 1 and 2 are pipes whose other ends the parent has."""

    def drain(self, attempt: Attempt | None = None) -> None:
        """The parent has read what was printed so far, unless it is stuck: how the attempt ended is told after it."""
        super().drain(attempt)
        until = time.monotonic() + _READ_S
        while any(map(self._unread, (1, 2))) and time.monotonic() < until:
            time.sleep(0.001)

    def _unread(self, fd: int) -> int:
        try:
            return self._waiting(fd)
        except OSError:
            return 0  # user code has closed it, or put something else there


class Rank(Shim):
    """Runs one input with code that is loaded already; its parent reads what it prints."""

    def __init__(self, path: str, code: Code) -> None:
        super().__init__(path)
        self.output = _ReadByParent(self._emit)
        self._code = code
        self._streams = f"streams-{os.path.basename(path)}"

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(128 + signal.SIGTERM))
        os.register_at_fork(after_in_child=behave_as_a_child)
        self.link.start()
        start = self._starts.get()
        executor = self._executor = self._prepare(start)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        header = {"type": "ready", "protocol": 1, "language": "python", "version": version, "import_ms": 0}
        self.link.ready(header)
        executor.run()
        self.link.wait_acknowledged(_ACKNOWLEDGED_S)
        return 0

    def _prepare(self, start: Header) -> Executor:
        self._channel = RunnerChannel(self.link, start["scratch"])
        _channel.install(self._channel)
        retryable.install(start["function"].get("retry"))
        functions = self._code.functions
        if called(start["function"])[None]["is_async"]:
            return _Once(EventLoop(functions, self.link, self.output))
        return _Once(MainThread(functions, self.link, self.output))


class _Once:
    """An executor that stops after its first attempt."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.cancel = executor.cancel
        self.stop = executor.stop
        self.run = executor.run

    def submit(self, attempt: Attempt) -> None:
        self._executor.submit(attempt)
        self._executor.stop()


def become(env: Mapping[str, str], code: Code, start: Header) -> NoReturn:
    """In the child of a fork: be this rank, to the end."""
    try:
        signal.set_wakeup_fd(-1)
        for one in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        gc.unfreeze()
        os.environ.update({**own_variables(env["MASTER_ADDR"], os.environ), **env})
        open_streams()
        os.chdir(start["scratch"])
        status = Rank(env["FABRIC_SOCKET"], code).run()
        flush_streams()
    except BaseException:
        import traceback

        complaint.tell(f"a defect ended this rank:\n{traceback.format_exc()}")
        status = 70
    os._exit(status)


def own_variables(master: str, given: Mapping[str, str]) -> dict[str, str]:
    """What only the container can see: by which interface the others are reached, and how torch was built here."""
    interface = interface_to(socket.gethostbyname(master))
    found = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface} if interface else {}
    torch = importlib.util.find_spec("torch")
    if torch is not None and (torch.origin or "").startswith(_DEBIAN_PACKAGES):
        found["USE_LIBUV"] = "0"  # Debian builds torch without it
    return {name: value for name, value in found.items() if name not in given}


def interface_to(address: str) -> str | None:
    """The interface by which packets to that IPv4 address leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing
        own = probe.getsockname()[0]
        for _index, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(told[20:24]) == own or (name == "lo" and own.startswith("127.")):
                return name
    return None


def open_streams() -> None:
    """Python's own stdout and stderr anew, on the descriptors as they are now."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(fd, "w", closefd=False)
        stream: Any = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def flush_streams() -> None:
    """Before an end that flushes nothing."""
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
