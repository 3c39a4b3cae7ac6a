"""A folder in which many processes keep things that are complete or absent."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from tombola.errors import OutputError
from tombola.lab.lease import age
from tombola.lab.process import Process
from tombola.ticket.folder import directory_size, sync, write_file

__all__ = ["KEY", "Disk"]

FORMAT = {"format": "tombola-store", "version": 1}
KEY = re.compile(r"[0-9a-f]{64}")
HOUR = 3600.0
FULL = {errno.ENOSPC, errno.EDQUOT}
RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors tells what the disk has refused."""


class Disk:
    """The folder of a store: made aside in tmp/, synced, and renamed last."""

    def __init__(self, folder: Path) -> None:
        """Open a store's folder, or create it where nothing is.

        Raises: OutputError, if something else is there, a newer store, or it can't be created.
        """
        self.folder = folder
        about = folder / "store.json"
        if not about.exists():
            self._refuse_foreign(about)
            write_file(about, json.dumps(FORMAT) + "\n")
        try:
            found = json.loads(about.read_bytes())
            same, version = found["format"] == FORMAT["format"], int(found["version"])
        except (OSError, ValueError, KeyError, TypeError):
            same, version = False, 0
        if not same:
            raise self._foreign("a store.json of something else")
        if version > 1:
            raise OutputError(
                f"expected a store of version 1 in {str(folder)!r}, got {version}. "
                "Update tombola or name another --store."
            )

    @cached_property
    def _hands(self) -> ThreadPoolExecutor:
        """Wait for the disk at the same time, which then commits everything at once."""
        return ThreadPoolExecutor(4, thread_name_prefix="sync")

    def _refuse_foreign(self, about: Path) -> None:
        """Refuse a folder with anything but what somebody leaves who is creating a store now."""
        if self.folder.exists() and not self.folder.is_dir():
            raise self._foreign("a file")
        entries = self.folder.iterdir() if self.folder.is_dir() else ()
        others = sorted(e.name for e in entries if not e.name.startswith(f".{about.name}"))
        if others and not about.exists():
            raise self._foreign(f"a folder with {others[0]}")

    def _foreign(self, what: str) -> OutputError:
        return OutputError(
            f"expected a store, an empty folder or none at {str(self.folder)!r}, got {what}. "
            "Name another --store."
        )

    def at(self, part: str, key: str) -> Path:
        """The folder of a key, in that part of the store."""
        if not KEY.fullmatch(key):
            raise ValueError(f"a key has 64 hexadecimal digits, got {key!r}")
        return self.folder / part / key[:2] / key

    @contextmanager
    def aside(self, target: Path) -> Iterator[Path]:
        """A folder in tmp/ to make `target` in, gone at the end.

        Raises: OutputError, for whatever the disk refuses meanwhile.
        """
        beside = self.folder / "tmp" / f"{Process.here().name}-{secrets.token_hex(4)}"
        try:
            with self.refusals(target):
                beside.mkdir(parents=True)
                yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @contextmanager
    def refusals(self, target: Path) -> Iterator[None]:
        """What the disk refuses, told in one line."""
        try:
            yield
        except Exception as error:
            rust = RUST_ERROR.search(str(error))
            if not rust and not isinstance(error, OSError):
                raise
            code = getattr(error, "errno", None) or int(rust[1] if rust else errno.EIO)
            remedy = "Name a --store that can be written."
            if code in FULL:
                remedy = "Free some space with `tombola store gc`, or name another --store."
            raise OutputError(
                f"expected to write {target.relative_to(self.folder)} in {str(self.folder)!r}, "
                f"got: {os.strerror(code)}. {remedy}"
            ) from None

    def settle(self, beside: Path, target: Path, last: str) -> None:
        """Give a complete folder its final name, unless another with the file `last` has it."""
        list(self._hands.map(sync, [*{*beside.iterdir(), beside / last}, beside]))
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync(target.parent.parent)
        try:
            beside.rename(target)
        except OSError:
            if (target / last).exists():
                return
            self.discard(target)
            beside.rename(target)
        sync(target.parent)

    def discard(self, path: Path) -> None:
        """Make a folder disappear at once, then delete it."""
        with self.aside(path) as beside, suppress(FileNotFoundError):
            path.rename(beside / path.name)

    def delete(self, path: Path) -> int:
        """Delete a file or a folder; its bytes."""
        size = 0
        with self.refusals(path), suppress(FileNotFoundError):
            if path.is_dir():
                size = directory_size(path)
                shutil.rmtree(path)
            else:
                size = path.stat().st_size
                path.unlink()
        return size

    def litter(self) -> Iterator[Path]:
        """What nobody will rename from tmp/ any more."""
        folder = self.folder / "tmp"
        for path in folder.iterdir() if folder.is_dir() else ():
            owner = Process.named(path.name)
            gone = owner.gone() if owner else None
            with suppress(FileNotFoundError):
                if gone or (gone is None and age(path) > HOUR):
                    yield path
