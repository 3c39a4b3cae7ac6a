"""Who works on what: a small file that one living process has, whichever machine it is on."""

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
"""Seconds between two writes of progress, at least."""
HOLD = 20.0
"""Seconds between two signs of life of a lease that beats by itself."""
SILENCE = 120.0
"""Seconds without a sign of life, after which a process that can't be asked is taken for dead."""

LIMIT = 1 << 22
"""Bytes of a lease that are read."""
NAME = re.compile(r"(([0-9a-f]{64}|run-[0-9a-f]{16})\.json(\.[0-9A-Za-z]+)*|\.[0-9a-f]{16})")
"""How the files of leases are named in a store."""

NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class Lease:
    """The right to do a job, until `release` or the death of this process.

    The file stays open, and is only written through the open handle: if somebody has taken the
    job over in spite of that, his file can't be hit.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self.lost = False
        """Whether somebody has taken the job over, because this process was silent too long."""
        owner = {"token": token, **asdict(Process.here()), "since": time.time()}
        self._head = json.dumps(owner)[:-1].encode()
        self._progress: dict[str, Any] = {}
        self._size, self._handle, self._beaten = 0, -1, float("-inf")
        self._lock, self._done = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self, progress: Mapping[str, Any]) -> None:
        """Say how far the job is; call it as often as you like."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            self._progress = dict(progress)
            self._sign()

    def hold(self) -> Self:
        """Give signs of life by itself from now on, for a job that is long without a `beat`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
            self._thread.start()
        return self

    def release(self) -> None:
        """Let go of the job."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self._handle >= 0:
            self._sign()  # whoever looks at it from now on doesn't take it for a dead one's
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
        """Write, if the file is still ours; a full disk is no reason to stop working."""
        with self._lock, suppress(OSError):
            try:
                self.lost = self.lost or not _content(self.path).startswith(self._head)
            except FileNotFoundError:
                self.lost = True
            if not self.lost and self._handle >= 0:
                os.lseek(self._handle, 0, os.SEEK_SET)
                self._write()

    def create(self, path: Path) -> None:
        """Write a new file, and stay with it wherever it is moved."""
        self.close()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._write()

    def _write(self) -> None:
        state = {"beat": time.time(), "progress": self._progress}
        text = self._head + b", " + json.dumps(state)[1:].encode()
        self._size = max(self._size, len(text))  # what was longer before is covered by spaces
        os.write(self._handle, text.ljust(self._size))

    def close(self) -> None:
        """Forget the file."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def claim(path: Path) -> Lease | None:
    """The lease at a path, unless a living process has it.

    Whoever is to take over a stale lease is settled by a lease on that, whose name holds the
    token of the stale one. Only he may remove it, so nobody removes a fresh one by mistake.
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
    """A new lease, if nothing is there.

    A link is exclusive on NFS too, where its reply may be lost; the number of links tells then.
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
    """What the lease of a living process says, or None if there is none."""
    with suppress(OSError):
        if not _stale(path):
            return _read(path)
    return None


def sweep(folder: Path) -> int:
    """Remove what dead processes have left among leases; how many files that was.

    What is no lease stays: links, folders, files without its name that name no process.
    """
    removed = 0
    for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
        try:
            if not (NAME.fullmatch(path.name) or _owner(_read(path))) or not _stale(path):
                continue
        except OSError:  # no plain file, or gone just now
            continue
        if path.name.startswith("."):  # of somebody who died before he had a lease
            path.unlink(missing_ok=True)
        elif lease := claim(path):
            lease.release()
        removed += 1
    return removed


def _stale(path: Path) -> str | None:
    """The token of a lease that nobody alive has; None if there is no such lease."""
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
    """What is in a lease now; its holder may be writing it."""
    with os.fdopen(open_plain(path, links=False), "rb") as file:
        return file.read(LIMIT)


def _read(path: Path) -> dict[str, Any]:
    """What a lease says; nothing, if it is damaged or just being written."""
    try:
        found = json.loads(_content(path))
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def age(path: Path) -> float:
    """Seconds since something was written, by the clock of its file system if that is possible."""
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
