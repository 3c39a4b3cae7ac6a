"""Folders that are complete or absent, and deleted without ever following a link."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tombola.base.errors import OutputError
from tombola.base.files import check_parents, not_written, real_path, sync, write_synced

__all__ = [
    "RESULT_FILES",
    "check_folder",
    "clear",
    "clear_folder",
    "directory_size",
    "new_folder",
    "open_folder",
    "write_folder",
]

RESULT_FILES = re.compile(
    r"(mask|outcome|weights|state)\.safetensors|(result|shapes|state)\.json|index\.jsonl"
)
"""Names of the files that results, weights and checkpoints consist of, and of their index."""

RESULT_FOLDERS = re.compile(r"\.?step-[0-9]+(\.[0-9a-f]+)?|[0-9a-f]{64}")
"""Names of the folders inside those: copies of a training, results that were taken out."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


Rename = Callable[[Path, Path], object]
"""Gives a folder another name."""


def directory_size(path: str | Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


# --- writing -----------------------------------------------------------------


def write_folder(path: str | Path, files: Mapping[str, bytes], *, replaces: Iterable[str]) -> Path:
    """Write a folder under a temporary name next to its final one, sync it, and rename it last.

    A process that is killed while it writes leaves at most a hidden folder next to it. Under the
    final name there is the old folder, nothing, or the new one, and never a part of one.

    Args:
        path: the final place; a link is followed, and `~` is the user's home.
        files: name -> content.
        replaces: the only names that a folder already there may hold.

    Raises: OutputError, if something else is there or the disk refuses.
    """
    target, ours, names = real_path(path), set(replaces), set(files)
    _refuse_others(target, ours, names)
    try:
        with new_folder(target, partial(_swap, ours=ours, needed=names)) as temporary:
            for name, content in files.items():
                write_synced(temporary / name, content)
    except OSError as error:
        raise not_written(path, error) from None
    return target


@contextmanager
def new_folder(target: Path, rename: Rename = Path.rename) -> Iterator[Path]:
    """A folder to fill, under a temporary name next to its final one; synced and renamed last.

    Args:
        target: the final name.
        rename: how the folder gets it.

    Raises: OSError, if the disk refuses.
    """
    temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for place in (*temporary.iterdir(), temporary):
            sync(place)
        rename(temporary, target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(
    path: str | Path, *, replaces: Iterable[str] | None = None, needed: Iterable[str] = ()
) -> None:
    """Refuse a place that `write_folder` could not write to, before there is anything to write.

    Args:
        path: the folder.
        replaces: the only names that a folder already there may hold; by default any.
        needed: those of them that it must hold, if it isn't empty.

    Raises: OutputError, if something else is there, or nothing may be created there.
    """
    target = real_path(path)
    if replaces is not None:
        _refuse_others(target, set(replaces), set(needed))
    check_parents(target, path)


def _refuse_others(target: Path, ours: set[str], needed: set[str]) -> None:
    """Refuse a place that holds anything but a folder which this program has written."""
    if not os.path.lexists(target):
        return
    found = _not_ours(target, ours, needed) if target.is_dir() else "something that isn't a folder"
    if found:
        raise OutputError(
            f"expected no {target}, an empty folder or an older ticket, got {found}. "
            f"Choose another folder or move this one away."
        )


def _not_ours(folder: Path, ours: set[str], needed: set[str]) -> str:
    """What makes a folder one that this program hasn't written; empty if it has."""
    with os.scandir(folder) as entries:
        plain = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    strange = [name for name in sorted(plain) if name not in ours or not plain[name]]
    if strange:
        return f"a folder with {strange[0]}"
    return "a folder without a ticket" if plain and not needed <= plain.keys() else ""


def _swap(temporary: Path, target: Path, *, ours: set[str], needed: set[str]) -> None:
    """Put a new folder under the final name; what was there comes back if that fails."""
    if not os.path.lexists(target):
        temporary.rename(target)
        return
    old = temporary.with_name(temporary.name + ".old")
    target.rename(old)
    try:
        if _not_ours(old, ours, needed):  # put there since the check
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    with suppress(OSError):
        made = re.compile("|".join(map(re.escape, sorted(ours))))
        clear_folder(old.parent, old.name, made=made)


# --- deleting ----------------------------------------------------------------


@contextmanager
def open_folder(folder: Path, *inner: str) -> Iterator[int]:
    """A handle of a folder inside another, held open so that it can't be exchanged.

    Args:
        folder: where to begin; the user has named it, so it may be a link.
        inner: the way down from there, without a link.

    Raises: OSError, if one of them is missing, a link, or not a folder.
    """
    handle = os.open(folder, FOLDER)
    try:
        for name in inner:
            below = _below(handle, name)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _below(handle: int, name: str) -> int:
    try:
        return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=handle)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            reason = f"{name} is a link or not a folder"
            raise NotADirectoryError(errno.ENOTDIR, reason, name) from None
        raise


def clear(above: int, name: str, made: re.Pattern[str] = RESULT_FILES) -> int:
    """Delete a folder as far as it consists of plain files that this program has written.

    Links, and files and folders of other names stay, and then the folder stays, too.

    Args:
        above: a handle of the folder that it is in.
        name: the name of the folder.
        made: the names of the files that may be deleted.

    Returns: the bytes freed.
    Raises: OSError, if it is a link, not a folder, or the disk refuses.
    """
    freed, handle = 0, _below(above, name)
    try:
        with os.scandir(handle) as entries:
            found = [(each.name, each.stat(follow_symlinks=False)) for each in entries]
        for inner, about in found:
            if stat.S_ISDIR(about.st_mode) and RESULT_FOLDERS.fullmatch(inner):
                freed += clear(handle, inner, made)
            elif stat.S_ISREG(about.st_mode) and made.fullmatch(inner):
                with suppress(FileNotFoundError):
                    os.unlink(inner, dir_fd=handle)
                    freed += about.st_size
    finally:
        os.close(handle)
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
    return freed


def clear_folder(folder: Path, *inner: str, made: re.Pattern[str] = RESULT_FILES) -> int:
    """Delete like `clear`, by the way down from a folder that may be trusted.

    Returns: the bytes freed; 0 if there is no such folder.
    Raises: OSError, if there is a link on the way, or the disk refuses.
    """
    *way, name = inner
    with suppress(FileNotFoundError), open_folder(folder, *way) as above:
        return clear(above, name, made)
    return 0
