"""What shown commands, or shown Python, have in common: the store, and a network trained once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK = "my-network"
"""The folder of the trained network that pages name."""


@contextmanager
def shared_by(pages: Path, kept: Path) -> Iterator[None]:
    """The store of all pages and the kept network, if there is one, in the working folder.

    Args:
        pages: the folder with the store.
        kept: where the network of a page is put, if it made the first.
    """
    Path("runs").mkdir()
    Path("runs/store").symlink_to(pages / "store")
    if kept.exists():
        shutil.copytree(kept, NETWORK)
    yield
    if Path(NETWORK).exists() and not kept.exists():
        shutil.copytree(NETWORK, kept)
