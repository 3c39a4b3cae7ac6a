"""Folders that are complete or absent, and files that are read with a limit."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tombola.base.errors import OutputError, TicketError
from tombola.base.files import read_plain
from tombola.base.json_text import parse_json
from tombola.base.removal import clear_folder

__all__ = [
    "check_file",
    "check_folder",
    "directory_size",
    "parse_object",
    "read_limited",
    "sync",
    "write_bytes",
    "write_file",
    "write_folder",
]


def directory_size(path: str | Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def check_file(path: str | Path) -> None:
    """Refuse a place that `write_bytes` could not write to, before there is anything to write.

    Raises: OutputError, if a folder is there, or nothing may be made there.
    """
    target = Path(path)
    if not target.name:
        raise OutputError(f"expected the name of a file, got {str(path)!r}. Name one.")
    if target.is_dir():
        raise _unwritten(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    _check_parents(target.parent, path)


def check_folder(
    path: str | Path, *, replaces: Iterable[str] | None = None, needed: Iterable[str] = ()
) -> None:
    """Refuse a place that `write_folder` could not write to, before there is anything to write.

    Args:
        path: the folder.
        replaces: the only names that a folder already there may hold; by default any.
        needed: those of them that it must hold, if it isn't empty.

    Raises: OutputError, if something else is there, or nothing may be made there.
    """
    target = Path(os.path.realpath(path))
    if replaces is not None:
        _refuse_foreign(target, set(replaces), set(needed))
    _check_parents(target, path)


def _check_parents(folder: Path, path: str | Path) -> None:
    """Refuse a folder that is a file, or that may not be made or written."""
    there = Path(os.path.abspath(folder))
    while not there.exists() and there != there.parent:
        there = there.parent
    code = 0
    if not there.is_dir():
        code = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    if code:
        raise _unwritten(path, OSError(code, f"{os.strerror(code)} ({there})"))


def write_folder(path: str | Path, files: Mapping[str, bytes], *, replaces: Iterable[str]) -> Path:
    """Write a folder beside its final place, sync it, and rename it last.

    Whoever is killed on the way leaves at most a hidden folder beside; under the final name
    there is the old folder, nothing, or the new one, and never a part of one.

    Args:
        path: the final place; a link is followed.
        files: name -> content.
        replaces: the only names that a folder already there may hold.

    Raises: OutputError, if something else is there or the disk refuses.
    """
    target, ours = Path(os.path.realpath(path)), set(replaces)
    _refuse_foreign(target, ours, set(files))
    beside = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    try:
        beside.mkdir(parents=True)
        for name, content in files.items():
            _write_synced(beside / name, content)
        sync(beside)
        _swap(beside, target, ours, set(files))
        sync(target.parent)
    except OSError as error:
        raise _unwritten(path, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def write_file(path: str | Path, text: str) -> Path:
    """Write a text file, complete or not at all.

    Raises: OutputError, if the disk refuses.
    """
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file beside its final place, sync it, and rename it last.

    A device or a pipe, such as /dev/null, is written to and stays.

    Raises: OutputError, if the disk refuses, or the path names no file.
    """
    check_file(path)
    if _is_device(path):
        _write_through(path, content)
        return Path(path)
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(beside, content)
        beside.replace(target)
        sync(target.parent)
    except OSError as error:
        raise _unwritten(path, error) from None
    finally:
        with suppress(OSError):
            beside.unlink()
    return Path(path)


def _is_device(path: str | Path) -> bool:
    """Whether something is there that is not kept on a disk."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _write_through(path: str | Path, content: bytes) -> None:
    try:
        with open(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise _unwritten(path, error) from None


def _unwritten(path: str | Path, error: OSError) -> OutputError:
    """What to say when the disk refuses."""
    remedy = "Free some space, or name another place."
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Name another place."
    return OutputError(f"expected to write {path}, got: {error.strerror or error}. {remedy}")


def _refuse_foreign(target: Path, ours: set[str], needed: set[str]) -> None:
    """Refuse a place that holds anything but a folder which this program has written."""
    if not os.path.lexists(target):
        return
    kind = _foreign(target, ours, needed) if target.is_dir() else "no folder"
    if kind:
        raise OutputError(
            f"expected no {target}, an empty folder or an older ticket, got {kind}. "
            f"Choose another folder or move this one away."
        )


def _foreign(folder: Path, ours: set[str], needed: set[str]) -> str:
    """What in a folder this program hasn't written; nothing if it has written all."""
    with os.scandir(folder) as entries:
        plain = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    strange = [name for name in sorted(plain) if name not in ours or not plain[name]]
    if strange:
        return f"a folder with {strange[0]}"
    return "a folder without a ticket" if plain and not needed <= plain.keys() else ""


def _swap(beside: Path, target: Path, ours: set[str], needed: set[str]) -> None:
    """Put `beside` under the final name; what was there comes back if that fails."""
    if not os.path.lexists(target):
        beside.rename(target)
        return
    old = beside.with_name(beside.name + ".old")
    target.rename(old)
    try:
        if _foreign(old, ours, needed):  # somebody has just put it there
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        beside.rename(target)
    except OSError:
        old.rename(target)
        raise
    with suppress(OSError):
        made = re.compile("|".join(map(re.escape, sorted(ours))))
        clear_folder(old.parent, old.name, made=made)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Make renames in a folder, or the content of a file, durable, where the system can."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most `limit` bytes; its size is asked before reading.

    Raises: TicketError, if it is missing, no plain file, too large or changes meanwhile.
    """
    try:
        return read_plain(path, limit)
    except OSError as error:
        raise TicketError(
            f"expected a ticket with {path.name} in {path.parent}, got: "
            f"{error.strerror or error}. Check the path or fetch the ticket again."
        ) from None


def parse_object(content: bytes, where: Path) -> dict[str, Any]:
    """The JSON object in UTF-8 that `content` is.

    Raises: TicketError, for anything else, a repeated key, or a number that JSON doesn't know.
    """
    try:
        value = parse_json(content)
    except ValueError as error:
        raise TicketError(
            f"expected JSON in {where}, got: {error}. Fetch the ticket again."
        ) from None
    if not isinstance(value, dict):
        raise TicketError(
            f"expected a JSON object in {where}, got a {type(value).__name__}. "
            f"Fetch the ticket again."
        )
    return value
