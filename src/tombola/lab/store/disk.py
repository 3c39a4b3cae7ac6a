"""The folder of a store on disk: many processes share it, and each entry is complete or absent."""

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
from tombola.base.files import disk_error, read_plain, sync, write_file
from tombola.base.folders import RESULT_FILES, clear, clear_folder, open_folder
from tombola.lab.store.lease import age
from tombola.lab.store.process import Process

__all__ = ["FOREIGN", "KEY", "Disk"]

FORMAT = {"format": "tombola-store", "version": 1}
KEY = re.compile(r"[0-9a-f]{64}")
TEMPORARY = re.compile(r"(token|.+-[0-9a-f]*\.[0-9]*-[0-9]+-[0-9]+)-[0-9a-f]+")
"""Names in tmp/: entries that a process is writing, and tokens that show Ray workers the store."""
FOREIGN = "foreign"
"""Where foreign files go that were found in the place of a result."""
LIMIT = 1 << 16
"""Bytes of store.json."""
HOUR = 3600.0
LINKED = {errno.ENOTDIR, errno.ELOOP}
FULL = {errno.ENOSPC, errno.EDQUOT}


class Disk:
    """The folder of a store. Entries are prepared in tmp/, synced, and then renamed into place."""

    def __init__(self, folder: Path) -> None:
        """Open the folder of a store, or create one if there is none.

        Raises: OutputError, if something else or a newer store is there, or it can't be created.
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
                f"expected a store of version 1 in {str(folder)!r}, got {version}. Update tombola "
                "or use another --store."
            )

    @cached_property
    def _sync_threads(self) -> ThreadPoolExecutor:
        """Threads that sync files at the same time, so that the disk commits them together."""
        return ThreadPoolExecutor(4, thread_name_prefix="sync")

    def _refuse_foreign(self, about: Path) -> None:
        """Refuse a folder that has files, except those of a process now creating a store."""
        if self.folder.exists() and not self.folder.is_dir():
            raise self._foreign("a file")
        entries = self.folder.iterdir() if self.folder.is_dir() else ()
        others = sorted(e.name for e in entries if not e.name.startswith(f".{about.name}"))
        if others and not about.exists():
            raise self._foreign(f"a folder with {others[0]}")

    def _foreign(self, what: str) -> OutputError:
        return OutputError(
            f"expected a store, an empty folder or none at {str(self.folder)!r}, got {what}. Use "
            "another --store."
        )

    def at(self, part: str, key: str) -> Path:
        """The folder of a key in one part of the store."""
        return self.folder.joinpath(*self.path_parts(part, key))

    def path_parts(self, part: str, key: str) -> tuple[str, str, str]:
        """The names that lead to the folder of a key, starting from the store's."""
        if not KEY.fullmatch(key):
            raise ValueError(f"a key has 64 hexadecimal digits, got {key!r}")
        return part, key[:2], key

    @contextmanager
    def staging(self, target: Path) -> Iterator[Path]:
        """A folder in tmp/ in which to prepare `target`; deleted at the end.

        Raises: OutputError, for any error of the disk in the meantime.
        """
        temporary = self._temporary()
        try:
            with self.refusals(target):
                temporary.mkdir(parents=True)
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _temporary(self) -> Path:
        return self.folder / "tmp" / f"{Process.here().name}-{secrets.token_hex(4)}"

    def command(self, *words: str) -> str:
        """A `tombola store` command for this store, quoted for a shell."""
        return shlex.join(["tombola", "store", *words, "--store", str(self.folder)])

    @contextmanager
    def refusals(self, target: Path) -> Iterator[None]:
        """Report errors of the disk in one line each.

        Raises: OutputError, with what was to be written, the reason, and what to do.
        """
        try:
            yield
        except Exception as error:
            refused = disk_error(error)
            if refused is None:
                raise
            code, reason = refused.errno or errno.EIO, refused.strerror or str(refused)
            remedy = "Use a --store that can be written to."
            if code in LINKED:
                remedy = "Put a folder in its place."
            if code in FULL:
                remedy = f"Free some space with `{self.command('gc')}`, or use another --store."
            raise OutputError(
                f"expected to write {target.relative_to(self.folder)} in {str(self.folder)!r}, "
                f"got: {reason}. {remedy}"
            ) from None

    def publish(self, staged: Path, target: Path, last: str) -> None:
        """Rename a complete folder to `target`, unless a folder there has the file `last`."""
        list(self._sync_threads.map(sync, [*{*staged.iterdir(), staged / last}, staged]))
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync(target.parent.parent)
        try:
            staged.rename(target)
        except OSError:
            if (target / last).exists():
                return
            self.discard(*target.relative_to(self.folder).parts)
            staged.rename(target)
        sync(target.parent)

    def discard(self, *place: str, made: re.Pattern[str] = RESULT_FILES) -> None:
        """Rename a folder out of the way, then delete it; foreign files move to `foreign`.

        Raises: OutputError, if there is a link on the path, or for an error of the disk.
        """
        *above, name = place
        temporary = self._temporary()
        try:
            with self.refusals(self.folder.joinpath(*place)), suppress(FileNotFoundError):
                temporary.mkdir(parents=True)
                inner = temporary.relative_to(self.folder).parts
                with (
                    open_folder(self.folder, *above) as here,
                    open_folder(self.folder, *inner) as to,
                ):
                    os.rename(name, name, src_dir_fd=here, dst_dir_fd=to)
                    with suppress(NotADirectoryError):
                        clear(to, name, made)
                    with suppress(FileNotFoundError):
                        self._keep_foreign(to, name)
        finally:
            with suppress(OSError):
                temporary.rmdir()

    def _keep_foreign(self, handle: int, name: str) -> None:
        """Move what is left of a discarded folder to `foreign`."""
        os.stat(name, dir_fd=handle, follow_symlinks=False)
        (self.folder / FOREIGN).mkdir(exist_ok=True)
        with open_folder(self.folder, FOREIGN) as there:
            new = f"{name}-{secrets.token_hex(4)}"
            os.rename(name, new, src_dir_fd=handle, dst_dir_fd=there)

    def delete(self, *place: str, made: re.Pattern[str] = RESULT_FILES) -> int:
        """Delete the files of a folder that the store made, and the folder if it is then empty.

        Returns: the bytes that were freed.
        Raises: OutputError, if there is a link on the path, or for an error of the disk.
        """
        with self.refusals(self.folder.joinpath(*place)):
            return clear_folder(self.folder, *place, made=made)

    def listed(self, *place: str, names: re.Pattern[str] = KEY) -> list[str]:
        """The folders in a part of the store whose names match; links are skipped."""
        return [
            name for name, mode in self._entries(*place) if S_ISDIR(mode) and names.fullmatch(name)
        ]

    def _entries(self, *place: str) -> list[tuple[str, int]]:
        """Names and modes of the entries of a folder, reached without following a link."""
        try:
            with open_folder(self.folder, *place) as handle, os.scandir(handle) as entries:
                found = [(each.name, each.stat(follow_symlinks=False).st_mode) for each in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def leftovers(self) -> Iterator[str]:
        """Names in tmp/ that ended processes have left."""
        for name, mode in self._entries("tmp"):
            if not TEMPORARY.fullmatch(name) or not (S_ISDIR(mode) or S_ISREG(mode)):
                continue
            owner = Process.named(name)
            gone = owner.gone() if owner else None
            with suppress(FileNotFoundError):
                if gone or (gone is None and age(self.folder / "tmp" / name) > HOUR):
                    yield name

    def sweep(self, name: str) -> int:
        """Delete one of the `leftovers`.

        Returns: the bytes that were freed.
        """
        with self.refusals(self.folder / "tmp" / name), open_folder(self.folder, "tmp") as handle:
            about = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if S_ISDIR(about.st_mode):
                return clear(handle, name)
            os.unlink(name, dir_fd=handle)
            return about.st_size

    def exists(self, *place: str) -> bool:
        """Whether an entry of that name is in the store, a link included."""
        return os.path.lexists(self.folder.joinpath(*place))
