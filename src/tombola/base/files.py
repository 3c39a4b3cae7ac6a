"""Plain files that others have made, read without waiting for anybody and with a limit."""

import errno
import os
import stat
from pathlib import Path

__all__ = ["check_plain", "open_plain", "read_plain", "read_plain_text"]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def read_plain(path: str | Path, limit: int, *, links: bool = True) -> bytes:
    """The content of a plain file.

    Args:
        path: of the file.
        limit: bytes that it may have.
        links: whether the path itself may be a link to one.

    Raises: OSError, if it is missing, anything but a plain file, larger, or changed meanwhile;
        its `strerror` says which.
    """
    handle = open_plain(path, links=links)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, at most {limit:,} are read", path)
        content = file.read(limit + 1 if size == 0 else size + 1) or b""  # None where it would wait
    if len(content) > limit or (size and len(content) != size):
        raise OSError(errno.EBUSY, "it changed while it was read", str(path))
    return content


def read_plain_text(path: str | Path, limit: int) -> str:
    """The text of a plain file in UTF-8.

    Raises: OSError, as `read_plain`; UnicodeDecodeError, a ValueError, if it is no such text.
    """
    return read_plain(path, limit).decode("utf-8")


def open_plain(path: str | Path, *, links: bool = True) -> int:
    """A handle of a plain file, opened without waiting for somebody at the other end.

    Raises: OSError, if it is missing or anything else.
    """
    if not links and os.path.islink(path):  # for its message; the flag below is what counts
        _refuse_special(os.lstat(path), path)
    handle = os.open(path, FLAGS | (0 if links else os.O_NOFOLLOW))
    try:
        _refuse_special(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


def check_plain(path: str | Path) -> os.stat_result:
    """What the system says of a plain file, for readers that open it themselves.

    Raises: OSError, if it is missing or anything else.
    """
    found = os.stat(path)
    _refuse_special(found, path)
    return found


def _refuse_special(found: os.stat_result, path: str | Path) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        what = KINDS.get(kind, "something else")
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, f"it is {what}, not a plain file", str(path))
