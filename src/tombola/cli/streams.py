"""Standard streams that work in any encoding, when closed, and when the reader has gone."""

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["complain", "drop_bad_columns", "open_streams", "spelled", "whole_output"]

_SPELLED = "→ -> ± +/- … ... – - — - − - × x · - ‘ ' ’ ' “ \" ” \" ≥ >= ≤ <= μ mu µ mu".split()
PLAIN = dict(zip(_SPELLED[::2], _SPELLED[1::2], strict=True))
"""Character that tombola prints -> its spelling in an encoding that lacks it."""

HANDLER = "tombola.plain"
REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks by its spelling or its number; an error handler for codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    spellings = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing)
    return "".join(spellings), error.end


codecs.register_error(HANDLER, _plainly)


def spelled(text: str, encoding: str) -> str:
    """A text as a stream with this encoding shows it, so that its width is known beforehand."""
    return text.encode(encoding, HANDLER).decode(encoding)


def open_streams() -> None:
    """Make every text writable: missing characters are spelled out, closed streams discard.

    The descriptor of a closed stream would go to the next file that is opened, and whatever another
    process writes to the stream would end up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def drop_bad_columns() -> None:
    """Remove a `COLUMNS` that is no positive number, in which rich would print nothing or fail."""
    columns = os.environ.get("COLUMNS", "")
    if not (columns.isascii() and columns.isdecimal() and columns.strip("0")):
        os.environ.pop("COLUMNS", None)


def complain(line: str) -> None:
    """Print a line on standard error, unless it is closed."""
    with suppress(OSError, ValueError):
        print(f"tombola: {line}", file=sys.stderr, flush=True)


@contextmanager
def whole_output() -> Iterator[None]:
    """Flush everything that is printed inside, and handle a standard output that fails.

    Raises: SystemExit, with 1 if the reader has gone (as `head` does), and 2, with a line on
        standard error, if the disk behind standard output refuses.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _swallow()
        raise SystemExit(1) from None  # as rich does
    except OSError as error:
        if not _from_output(error):
            raise
        _swallow()
        complain(
            f"expected to write to standard output, got: {os.strerror(error.errno or errno.EIO)}. "
            "Send it to a place with room."
        )
        raise SystemExit(2) from None


def _from_output(error: OSError) -> bool:
    """Whether standard output caused the error: it still fails, or the error names no file."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return error.filename is None and error.errno in REFUSED


def _swallow() -> None:
    """Discard what is still to be written to standard output, which Python would retry at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
