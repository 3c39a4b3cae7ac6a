"""Plain files: read with a limit and without ever waiting, and written completely or not at all."""

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tombola.base.errors import OutputError
from tombola.base.fields import path_text

__all__ = [
    "FREE_SPACE",
    "check_file",
    "check_parents",
    "disk_error",
    "not_written",
    "open_plain",
    "read_plain",
    "read_plain_text",
    "real_path",
    "sync",
    "write_bytes",
    "write_file",
    "write_synced",
]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
FREE_SPACE = "Free some space, or use another place"
"""What to do about a full disk."""
RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""How libraries in Rust, such as safetensors, name an error of the disk."""

FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


# --- reading -----------------------------------------------------------------


def read_plain(path: str | Path, limit: int, *, links: bool = True) -> bytes:
    """The content of a plain file.

    Args:
        path: the path of the file.
        limit: the most bytes it may have; its size is checked before it is read.
        links: whether the path itself may be a link to one.

    Raises: OSError, if it is missing, not a plain file, larger, or changes while it is read; its
        `strerror` says which.
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

    Raises: OSError, as `read_plain`; UnicodeDecodeError, a ValueError, if it is not UTF-8.
    """
    return read_plain(path, limit).decode("utf-8")


def open_plain(path: str | Path, *, links: bool = True) -> int:
    """A handle of a plain file, opened without waiting for another process.

    Raises: OSError, if it is missing or not a plain file.
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


def _refuse_special(found: os.stat_result, path: str | Path) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        what = KINDS.get(kind, "something else")
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, f"it is {what}, not a plain file", str(path))


# --- writing -----------------------------------------------------------------


def write_file(path: str | Path, text: str) -> Path:
    """Write a text file, completely or not at all.

    Raises: OutputError, if the disk refuses.
    """
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file under a temporary name next to its final one, sync it, and rename it last.

    A device or a pipe, such as /dev/null, is written to and stays.

    Raises: OutputError, if the disk refuses, or the path is not that of a file.
    """
    check_file(path)
    if _is_device(path):
        _write_through(path, content)
        return Path(path)
    target = real_path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_synced(temporary, content)
        temporary.replace(target)
        sync(target.parent)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return Path(path)


def real_path(path: str | Path) -> Path:
    """The absolute path without links; `~` is the user's home.

    Raises: SpecError, for what is no path.
    """
    return Path(os.path.realpath(path_text(path, "a path")))


def check_file(path: str | Path) -> None:
    """Refuse a place that `write_bytes` could not write to, before there is anything to write.

    Raises: OutputError, if a folder is there, or nothing may be created there.
    """
    target = Path(path).expanduser()
    if not target.name:
        raise OutputError(f"expected the name of a file, got {str(path)!r}. Pass one.")
    if target.is_dir():
        raise not_written(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    check_parents(target.parent, path)


def check_parents(folder: Path, path: str | Path) -> None:
    """Refuse a folder that is a file, or that may not be created or written to.

    Args:
        folder: where something is to be written.
        path: what is to be written, for the error.

    Raises: OutputError.
    """
    nearest = Path(os.path.abspath(folder))
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    code = 0
    if not nearest.is_dir():
        code = errno.ENOTDIR
    elif not os.access(nearest, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(nearest).f_flag & os.ST_RDONLY else errno.EACCES
    if code:
        raise not_written(path, OSError(code, f"{os.strerror(code)} ({nearest})"))


def not_written(path: str | Path, error: OSError) -> OutputError:
    """The error about a file or folder that the disk refuses."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = FREE_SPACE if full else "Use another place"
    return OutputError(f"expected to write {path}, got: {error.strerror or error}. {remedy}.")


def disk_error(error: BaseException) -> OSError | None:
    """The error of the disk in what a library raised, those in Rust included; None for others."""
    if isinstance(error, OSError):
        return error
    rust = RUST_ERROR.search(str(error))
    return OSError(int(rust[1]), os.strerror(int(rust[1]))) if rust else None


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and make its content durable.

    Raises: OSError, if it exists or the disk refuses.
    """
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


def _is_device(path: str | Path) -> bool:
    """Whether something exists there that is not stored on a disk."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _write_through(path: str | Path, content: bytes) -> None:
    try:
        with open(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise not_written(path, error) from None
