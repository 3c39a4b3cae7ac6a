"""Deleting what was made here, and nothing else: no link is followed, and none is deleted."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["MADE", "clear", "clear_folder", "opened"]

MADE = re.compile(
    r"(mask|outcome|weights|state)\.safetensors|(result|shapes|state)\.json|index\.jsonl"
)
"""Names of the files that results, weights and checkpoints consist of, and of their index."""

INNER = re.compile(r"\.?step-[0-9]+(\.[0-9a-f]+)?|[0-9a-f]{64}")
"""Names of the folders inside those: copies of a training, results that were taken out."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened(folder: Path, *inner: str) -> Iterator[int]:
    """A handle of a folder inside another, held open so that nobody can exchange it meanwhile.

    Args:
        folder: where to begin; the user has named it, so it may be a link.
        inner: the way down from there, without a link.

    Raises: OSError, if one of them is missing, a link, or no folder.
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
            told = f"{name} is a link or no folder"
            raise NotADirectoryError(errno.ENOTDIR, told, name) from None
        raise


def clear(above: int, name: str, made: re.Pattern[str] = MADE) -> int:
    """Delete a folder as far as it consists of plain files that were made here; the bytes freed.

    Links, and files and folders of other names stay, and then the folder stays, too.

    Args:
        above: a handle of the folder that it is in.
        name: of the folder.
        made: what the names of files look like that may go.

    Raises: OSError, if it is a link, no folder, or the disk refuses.
    """
    freed, handle = 0, _below(above, name)
    try:
        with os.scandir(handle) as entries:
            found = [(each.name, each.stat(follow_symlinks=False)) for each in entries]
        for inner, about in found:
            if stat.S_ISDIR(about.st_mode) and INNER.fullmatch(inner):
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


def clear_folder(folder: Path, *inner: str, made: re.Pattern[str] = MADE) -> int:
    """The same of a folder that is named from one that may be trusted; 0 if it isn't there.

    Raises: OSError, if there is a link on the way, or the disk refuses.
    """
    *way, name = inner
    with suppress(FileNotFoundError), opened(folder, *way) as above:
        return clear(above, name, made)
    return 0
