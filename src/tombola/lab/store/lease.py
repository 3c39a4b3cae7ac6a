"""Leases: small files by which one running process, on any machine, has the right to a job."""

import errno
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tombola.base.files import open_plain
from tombola.lab.store.process import Process

__all__ = ["Lease", "age", "claim", "holder", "sweep"]

BEAT = 5.0
"""Least number of seconds between two writes of progress."""
HOLD = 20.0
"""Seconds between two heartbeats of a lease with a thread of its own."""
SILENCE = 120.0
"""Seconds without a heartbeat after which a process on another machine is taken to have ended."""

LIMIT = 1 << 22
"""Largest lease that is read, in bytes."""
NAME = re.compile(r"(([0-9a-f]{64}|run-[0-9a-f]{16})\.json(\.[0-9A-Za-z]+)*|\.[0-9a-f]{16})")
"""Names of the files of leases."""

NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class Lease:
    """The right to do a job, until `release` or the end of this process.

    The file stays open, and is written only through the open handle, so that the file of a process
    that has taken the job over is never overwritten.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self.lost = False
        """Whether another process has taken the job over, because this one was silent too long."""
        owner = {"token": token, **asdict(Process.here()), "since": time.time()}
        self._head = json.dumps(owner)[:-1].encode()
        self._progress: dict[str, Any] = {}
        self._size, self._handle, self._beaten = 0, -1, float("-inf")
        self._lock, self._done = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self, progress: Mapping[str, Any]) -> None:
        """Record the progress of the job; calls in quick succession write it once."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            self._progress = dict(progress)
            self._sign()

    def hold(self) -> Self:
        """Start a thread that writes heartbeats, for a job that may go long without a `beat`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
            self._thread.start()
        return self

    def release(self) -> None:
        """Give up the job and delete the file."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self._handle >= 0:
            self._sign()  # a fresh one is not taken for stale
            if not self.lost:
                with suppress(OSError):
                    self.path.unlink()
            self.close()

    def __enter__(self) -> Self:
        return self.hold()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _keep(self) -> None:
        while not self._done.wait(HOLD):
            self._sign()

    def _sign(self) -> None:
        """Write a heartbeat if the file is still ours; a full disk doesn't stop the job."""
        with self._lock, suppress(OSError):
            try:
                self.lost = self.lost or not _content(self.path).startswith(self._head)
            except FileNotFoundError:
                self.lost = True
            if not self.lost and self._handle >= 0:
                os.lseek(self._handle, 0, os.SEEK_SET)
                self._write()

    def create(self, path: Path) -> None:
        """Create the file, and keep its handle even if it is renamed."""
        self.close()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._write()

    def _write(self) -> None:
        state = {"beat": time.time(), "progress": self._progress}
        text = self._head + b", " + json.dumps(state)[1:].encode()
        self._size = max(self._size, len(text))  # spaces cover what was longer before
        os.write(self._handle, text.ljust(self._size))

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def claim(path: Path) -> Lease | None:
    """The lease at a path, or None if a running process has it.

    A stale lease may be taken over only by the holder of a second lease, whose name has the token
    of the stale one. So no process removes a fresh lease by mistake.
    """
    if not os.path.lexists(path):
        return _take(path)
    token = _stale(path)
    right = claim(path.with_name(f"{path.name}.{token}")) if token else None
    if right is None:
        return None
    try:
        if _stale(path) == token:
            path.unlink(missing_ok=True)
        return _take(path)
    finally:
        right.release()


def _take(path: Path) -> Lease | None:
    """A new lease, or None if the path is taken.

    Linking is exclusive on NFS too, where the reply may be lost; the number of links shows then
    whether it succeeded.
    """
    token = secrets.token_hex(8)
    lease, own = Lease(path, token), path.with_name(f".{token}")
    try:
        lease.create(own)
        if _link(lease, own):
            return lease
    except BaseException:
        lease.close()
        raise
    finally:
        own.unlink(missing_ok=True)
    lease.close()
    return None


def _link(lease: Lease, own: Path) -> bool:
    """Give the file of a lease its final name; False if that is taken."""
    with suppress(FileExistsError):
        try:
            os.link(own, lease.path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            lease.create(lease.path)
            return True
    return own.stat().st_nlink == 2


def holder(path: Path) -> dict[str, Any] | None:
    """The content of the lease of a running process, or None if there is none."""
    with suppress(OSError):
        if not _stale(path):
            return _read(path)
    return None


def sweep(folder: Path) -> int:
    """Remove the leases that ended processes have left.

    Links, folders, and files that have neither the name of a lease nor a process in them stay.

    Returns: the number of files removed.
    """
    removed = 0
    for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
        try:
            if not (NAME.fullmatch(path.name) or _owner(_read(path))) or not _stale(path):
                continue
        except OSError:  # not a plain file, or just removed
            continue
        if path.name.startswith("."):  # its process ended before it had the lease
            path.unlink(missing_ok=True)
        elif lease := claim(path):
            lease.release()
        removed += 1
    return removed


def _stale(path: Path) -> str | None:
    """The token of the lease at a path if its process has ended; otherwise None."""
    try:
        found = _read(path)
        owner = _owner(found)
        gone = owner.gone() if owner else None
        stale = age(path) > SILENCE if gone is None else gone
    except FileNotFoundError:
        return None
    token = str(found.get("token"))
    return (token if token.isalnum() else "damaged") if stale else None


def _owner(found: Mapping[str, Any]) -> Process | None:
    """The process that a lease names; None if it is damaged."""
    try:
        return msgspec.convert(found, Process)
    except msgspec.ValidationError:
        return None


def _content(path: Path) -> bytes:
    """The bytes of a lease; its holder may be writing them."""
    with os.fdopen(open_plain(path, links=False), "rb") as file:
        return file.read(LIMIT)


def _read(path: Path) -> dict[str, Any]:
    """The content of a lease; empty, if it is damaged or just being written."""
    try:
        found = json.loads(_content(path))
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def age(path: Path) -> float:
    """Seconds since a file was modified, by the clock of its file system if possible."""
    probe = path.with_name(f".{secrets.token_hex(8)}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    except OSError:
        now = time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
    return now - path.stat().st_mtime
