"""Whether the process that left a file is still there."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

__all__ = ["Process"]


@dataclass(frozen=True)
class Process:
    """A process, told apart from every other that had its number or will have it."""

    host: str
    machine: str
    """Boot and container: process numbers mean something only within one."""
    pid: int
    started: int
    """In ticks since the machine was booted; 0 if the system doesn't tell."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(platform.node(), _machine(), pid, _started(pid) or 0)

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The process whose `name` begins a name, or None if none does."""
        host, *rest = name.rsplit("-", 4)
        try:
            machine, pid, started, _ = rest
            return cls(host, machine, int(pid), int(started))
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """For files that are its own."""
        return f"{self.host}-{self.machine}-{self.pid}-{self.started}"

    def gone(self) -> bool | None:
        """Whether it has ended; None if that can't be told from here."""
        here = Process.here()
        if (self.host, self.machine) != (here.host, here.machine) or os.name != "posix":
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        started = _started(self.pid)
        return None if started is None else started != self.started


@cache
def _machine() -> str:
    boot = space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{boot}.{space}"


def _started(pid: int) -> int | None:
    """When a process began; -1 if it has ended and nobody has asked how; None if nothing tells."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *rest = content.rpartition(b")")[2].split()
    return -1 if state in (b"Z", b"X") else int(rest[18])
