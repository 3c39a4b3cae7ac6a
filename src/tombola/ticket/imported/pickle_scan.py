"""What a file of torch.save() would do to be read, found out without reading it; no torch.

torch's own reader refuses code, but it unpacks archives and makes memory out of numbers.
"""

import os
import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile

from tombola.base.files import open_plain
from tombola.base.text import printable

__all__ = ["PICKLE", "ZIP", "UnsafePickleError", "check_pickle"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How files of torch.save() begin."""

PICKLE_LIMIT = 32 << 20
"""Bytes of the pickle in an archive: without the values, which are in files of their own."""

PICKLES = 5
"""Pickles one after another at the start of a file of torch before 1.6."""

REPEATS = 1_000_000
"""Tuples that may be named a second time, with those in them."""

MAKERS = {
    "collections OrderedDict",
    "collections Counter",
    "torch Size",
    "torch device",
    "torch.serialization _get_layout",
    "torch.storage UntypedStorage",
    "torch.nn.parameter Parameter",
    *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
    *(
        f"torch._utils _rebuild_{what}"
        for what in (
            *("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state"),
            *("sparse_tensor", "qtensor", "nested_tensor", "meta_tensor_no_storage"),
        )
    ),
}
"""What a pickle may call. All in the list of torch, without what makes memory of a number."""

TYPE = re.compile(r"torch ([a-z]\w*|\w+Storage)")
"""Types of values and of storages; functions of torch, which look the same, are not called."""


class UnsafePickleError(Exception):
    """Reading the file would run code, or take more memory than it is large."""


def check_pickle(path: Path) -> None:
    """Refuse an archive that would be unpacked, and a pickle that calls more than tensors need.

    Raises: UnsafePickleError, and for a file that is neither whatever the libraries raise.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        for name in _archived(file) if file.read(4) == ZIP else _bare(file):
            if not (name in MAKERS or TYPE.fullmatch(name)):
                raise UnsafePickleError(f"a pickle that wants to run code, {printable(name)[:80]}")


def _archived(file: IO[bytes]) -> Iterator[str]:
    """The names that the pickle in an archive calls."""
    with ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            raise UnsafePickleError("a compressed archive")
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                if entry.file_size > PICKLE_LIMIT:
                    raise UnsafePickleError(f"{entry.file_size:,} bytes of names and shapes")
                with archive.open(entry) as content:
                    yield from _called(content)


def _bare(file: IO[bytes]) -> Iterator[str]:
    """The names that the pickles at the start of a file call."""
    file.seek(0)
    for _ in range(PICKLES):
        yield from _called(file)


def _called(pickle: IO[bytes]) -> Iterator[str]:
    """What a pickle calls, as "module name".

    Raises: UnsafePickleError, if nested tuples would take too long to hash.
    """
    made, repeated = "", 0
    tuples: dict[object, int] = {}
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            yield str(argument)
        elif opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            yield opcode.name
        elif opcode.name in ("BINPUT", "LONG_BINPUT") and made.startswith("TUPLE"):
            tuples[argument] = 1 + repeated  # whatever came before may be in it
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            repeated += tuples.get(argument, 0)
            if repeated > REPEATS:
                raise UnsafePickleError("a pickle that repeats itself in itself")
        made = opcode.name
