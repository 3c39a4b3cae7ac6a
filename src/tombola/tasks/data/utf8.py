"""Text files with nothing but the standard library: UTF-8, as it stands or compressed."""

import codecs
import errno
import gzip
import io
import zlib
from pathlib import Path

from tombola.base.errors import DataError
from tombola.base.files import read_plain

__all__ = ["format_of", "lines_of", "read_text"]

COMPRESSED = ".gz"

LIMIT = 1 << 32
"""Bytes of a text file, and of what a compressed one holds."""

UNPACKED, PACKING = 1 << 28, 100
"""Bytes that any compressed file may hold; and times its own size, where that is more."""


def format_of(path: Path) -> str:
    """The end of a file's name that says what it holds: `.csv` of `train.csv.gz`."""
    name = Path(path.name.removesuffix(COMPRESSED))
    return name.suffix.lower()


def _decompressed(content: bytes) -> bytes:
    """The content of a compressed file; OSError if it is damaged or too large."""
    parts, size = [], 0
    most = min(LIMIT, max(UNPACKED, PACKING * len(content)))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while part := file.read(1 << 20):
            parts.append(part)
            size += len(part)
            if size > most:
                raise OSError(errno.EFBIG, f"it holds more than {most:,} bytes")
    return b"".join(parts)


def read_text(path: Path) -> str:
    """The text of a file, without a byte-order mark and with its line ends as they are.

    Args:
        path: what ends in .gz is decompressed.

    Raises: DataError, with the place of the first byte that is not UTF-8.
    """
    try:
        content = read_plain(path, LIMIT)
        if path.suffix == COMPRESSED:
            content = _decompressed(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        way_on = (
            "Check the path" if path.suffix != COMPRESSED else "Compress it again, or unpack it"
        )
        raise DataError(f"expected a file at {str(path)!r}, got: {reason}. {way_on}.") from None
    if wide := _wide(content):
        raise DataError(f"{str(path)!r} is not UTF-8 but {wide}. Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad, line = content[error.start], content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{str(path)!r} is not UTF-8: byte {error.start} is 0x{bad:02x}. Save it as UTF-8; the "
            f"byte is in line {line}."
        ) from None


def _wide(content: bytes) -> str:
    """The name of an encoding of two or four bytes a character, if a file's first bytes show it."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    start = content[:1000]
    return "UTF-16" if start.count(0) > len(start) // 3 else ""


def lines_of(text: str) -> list[str]:
    """The lines of a text, whether they end in LF, CR LF or CR, without these."""
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]
