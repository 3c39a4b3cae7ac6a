"""An ONNX file at its place, with the tokenizer and the configuration next to it."""

import os
from pathlib import Path

from tombola.base.errors import OutputError
from tombola.base.files import read_plain, write_bytes
from tombola.models.network import Network

__all__ = ["place_files", "same_folder"]

LARGEST = 1 << 30
"""Bytes of a file of the tokenizer."""


def same_folder(name: str, folder: Path) -> bool:
    """Whether a network is in a folder, as its name says."""
    return Path(name).is_dir() and folder.is_dir() and Path(name).samefile(folder)


def place_files(network: Network, file: Path, place: Path, *, keep: bool) -> None:
    """Put the tokenizer and the configuration next to the file's place, and the file there.

    Args:
        network: the network they belong to.
        file: complete, in a folder of its own.
        place: where it goes.
        keep: whether files that are already there stay as they are.

    Raises: OutputError, for other files of those names.
    """
    beside = file.parent / "beside"
    network.tokenizer.save_pretrained(beside)
    network.model.config.save_pretrained(beside)
    contents = {path.name: path.read_bytes() for path in sorted(beside.glob("*"))}
    for name, content in [*contents.items()]:
        there = place.parent / name
        if not os.path.lexists(there):
            continue
        if not keep and _differs(there, content):
            raise OutputError(
                f"expected to write {name} next to {str(place)!r}, got another file of that name "
                "there. Choose a file in another folder."
            )
        del contents[name]
    for name, content in contents.items():
        write_bytes(place.parent / name, content)
    write_bytes(place, file.read_bytes())


def _differs(there: Path, content: bytes) -> bool:
    try:
        return read_plain(there, LARGEST) != content
    except OSError:
        return True
