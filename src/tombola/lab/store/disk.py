"""A folder in which many processes keep things that are complete or absent."""

import errno
import json
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from tombola.base.errors import OutputError
from tombola.base.files import read_plain, sync, write_file
from tombola.base.folders import RESULT_FILES, clear, clear_folder, opened
from tombola.lab.store.lease import age
from tombola.lab.store.process import Process

__all__ = ["FOREIGN", "KEY", "Disk"]

FORMAT = {"format": "tombola-store", "version": 1}
KEY = re.compile(r"[0-9a-f]{64}")
LITTER = re.compile(r"(token|.+-[0-9a-f]*\.[0-9]*-[0-9]+-[0-9]+)-[0-9a-f]+")
"""Names in tmp/: of the process that made it, or of an engine that shows where its store is."""
FOREIGN = "foreign"
"""Where files go that others have put where a result belongs."""
LIMIT = 1 << 16
"""Bytes of store.json."""
HOUR = 3600.0
LINKED = {errno.ENOTDIR, errno.ELOOP}
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
            found = json.loads(read_plain(about, LIMIT))
            same, version = found["format"] == FORMAT["format"], int(found["version"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
        return self.folder.joinpath(*self.way(part, key))

    def way(self, part: str, key: str) -> tuple[str, str, str]:
        """The same as names, one below the other."""
        if not KEY.fullmatch(key):
            raise ValueError(f"a key has 64 hexadecimal digits, got {key!r}")
        return part, key[:2], key

    @contextmanager
    def aside(self, target: Path) -> Iterator[Path]:
        """A folder in tmp/ to make `target` in, gone at the end.

        Raises: OutputError, for whatever the disk refuses meanwhile.
        """
        beside = self._beside()
        try:
            with self.refusals(target):
                beside.mkdir(parents=True)
                yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _beside(self) -> Path:
        return self.folder / "tmp" / f"{Process.here().name}-{secrets.token_hex(4)}"

    def command(self, *words: str) -> str:
        """A command that looks after this store, to be copied into a shell."""
        return shlex.join(["tombola", "store", *words, "--store", str(self.folder)])

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
            reason = os.strerror(code) if rust else getattr(error, "strerror", None) or str(error)
            remedy = "Name a --store that can be written."
            if code in LINKED:
                remedy = "Put a folder in its place."
            if code in FULL:
                remedy = f"Free some space with `{self.command('gc')}`, or name another --store."
            raise OutputError(
                f"expected to write {target.relative_to(self.folder)} in {str(self.folder)!r}, "
                f"got: {reason}. {remedy}"
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
            self.discard(*target.relative_to(self.folder).parts)
            beside.rename(target)
        sync(target.parent)

    def discard(self, *place: str, made: re.Pattern[str] = RESULT_FILES) -> None:
        """Make a folder disappear at once, then delete it; what wasn't made here is kept aside.

        Raises: OutputError, if there is a link on the way, or the disk refuses.
        """
        *above, name = place
        beside = self._beside()
        try:
            with self.refusals(self.folder.joinpath(*place)), suppress(FileNotFoundError):
                beside.mkdir(parents=True)
                inner = beside.relative_to(self.folder).parts
                with opened(self.folder, *above) as here, opened(self.folder, *inner) as to:
                    os.rename(name, name, src_dir_fd=here, dst_dir_fd=to)
                    with suppress(NotADirectoryError):
                        clear(to, name, made)
                    with suppress(FileNotFoundError):
                        self._set_aside(to, name)
        finally:
            with suppress(OSError):
                beside.rmdir()

    def _set_aside(self, handle: int, name: str) -> None:
        """Keep what is left of a folder that was taken out."""
        os.stat(name, dir_fd=handle, follow_symlinks=False)
        (self.folder / FOREIGN).mkdir(exist_ok=True)
        with opened(self.folder, FOREIGN) as there:
            new = f"{name}-{secrets.token_hex(4)}"
            os.rename(name, new, src_dir_fd=handle, dst_dir_fd=there)

    def delete(self, *place: str, made: re.Pattern[str] = RESULT_FILES) -> int:
        """Delete a folder as far as it holds what was made here; its bytes.

        Raises: OutputError, if there is a link on the way, or the disk refuses.
        """
        with self.refusals(self.folder.joinpath(*place)):
            return clear_folder(self.folder, *place, made=made)

    def listed(self, *place: str, names: re.Pattern[str] = KEY) -> list[str]:
        """The folders of such names in a part of the store; no link, and nothing behind one."""
        return [
            name for name, mode in self._entries(*place) if S_ISDIR(mode) and names.fullmatch(name)
        ]

    def _entries(self, *place: str) -> list[tuple[str, int]]:
        """Names and modes of all that is in a folder, reached without a link."""
        try:
            with opened(self.folder, *place) as handle, os.scandir(handle) as entries:
                found = [(each.name, each.stat(follow_symlinks=False).st_mode) for each in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def litter(self) -> Iterator[str]:
        """Names in tmp/ that nobody will rename from there any more."""
        for name, mode in self._entries("tmp"):
            if not LITTER.fullmatch(name) or not (S_ISDIR(mode) or S_ISREG(mode)):
                continue
            owner = Process.named(name)
            gone = owner.gone() if owner else None
            with suppress(FileNotFoundError):
                if gone or (gone is None and age(self.folder / "tmp" / name) > HOUR):
                    yield name

    def sweep(self, name: str) -> int:
        """Delete something that `litter` has named; its bytes."""
        with self.refusals(self.folder / "tmp" / name), opened(self.folder, "tmp") as handle:
            about = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if S_ISDIR(about.st_mode):
                return clear(handle, name)
            os.unlink(name, dir_fd=handle)
            return about.st_size

    def there(self, *place: str) -> bool:
        """Whether something has that name in the store, a link included."""
        return os.path.lexists(self.folder.joinpath(*place))
