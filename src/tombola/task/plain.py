"""Text files with nothing but the standard library: UTF-8, and tables with commas or tabs."""

import csv
import io
from pathlib import Path

from tombola.errors import DataError

__all__ = ["read_table", "read_text"]


def read_text(path: Path) -> str:
    """What stands in a file, without a byte-order mark and with its line ends as they are.

    Raises: DataError, with the place of the first byte that is no UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"expected a file at {str(path)!r}, got: {error.strerror}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = content[error.start]
        raise DataError(
            f"{str(path)!r} is no UTF-8: byte {error.start} is 0x{bad:02x}. Save it as UTF-8."
        ) from None


def read_table(path: Path) -> dict[str, list[str]]:
    """Column -> its values, of a file with a header whose fields may be quoted (RFC 4180).

    Args:
        path: ends in .csv for commas or in .tsv for tabs.

    Raises: DataError, for a line that has more or fewer fields than the header.
    """
    text = io.StringIO(read_text(path), newline="")
    lines = csv.reader(text, delimiter="\t" if path.suffix == ".tsv" else ",")
    try:
        header = next(lines, [])
        columns: dict[str, list[str]] = {name: [] for name in header}
        for fields in lines:
            if fields and len(fields) != len(header):
                raise DataError(
                    f"{str(path)!r}: line {lines.line_num} has {len(fields)} fields, the header "
                    f"{len(header)}. Put texts with a comma or a line break in quotes."
                )
            for name, value in zip(header, fields, strict=bool(fields)):
                columns[name].append(value)
    except csv.Error as error:
        raise DataError(f"{str(path)!r}: line {lines.line_num}: {error}.") from None
    return columns
