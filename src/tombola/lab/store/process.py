"""Identity of the process that wrote a file, and whether it is still running."""

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import psutil

__all__ = ["Process"]

ENDED = -1
"""Start time of a zombie, which has ended."""


@dataclass(frozen=True)
class Process:
    """A process, distinct from every other that has had its number or will have it."""

    host: str
    machine: str
    """Boot and container: process numbers mean something only within one."""
    pid: int
    started: int
    """When it started, in clock ticks, on Linux since the machine was booted; 0 if unknown."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(platform.node(), _machine(), pid, _started(pid) or 0)

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The process whose `name` a file name begins with, or None if it has no such prefix."""
        host, *rest = name.rsplit("-", 4)
        try:
            machine, pid, started, _ = rest
            return cls(host, machine, int(pid), int(started))
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """Prefix of the names of its files."""
        return f"{self.host}-{self.machine}-{self.pid}-{self.started}"

    def gone(self) -> bool | None:
        """Whether it has ended; None if that can't be determined from here."""
        here = Process.here()
        if (self.host, self.machine) != (here.host, here.machine) or os.name != "posix":
            return None
        try:
            os.kill(self.pid, 0)  # sees processes of other users that /proc may hide from psutil
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        started = _started(self.pid)
        if started is None or (started != ENDED and not self.started):
            return None
        return started != self.started


@cache
def _machine() -> str:
    boot = space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{boot}.{space}"


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks; ENDED for a zombie; None if unknown."""
    try:
        if psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return ENDED
        return round(_seconds(pid) * os.sysconf("SC_CLK_TCK"))
    except (psutil.Error, ValueError):
        return None


def _seconds(pid: int) -> float:
    """When a process started, by a clock that is never set.

    On Linux psutil adds the time of boot to the value of the kernel, and that time changes whenever
    the clock is set; so it is subtracted again.
    """
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    while True:
        boot = psutil.boot_time()
        seconds = psutil.Process(pid).create_time() - boot
        if psutil.boot_time() == boot:
            return seconds
