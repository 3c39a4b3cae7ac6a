"""The store: results of jobs by key, in a folder that processes share.

docs/reference/store-format.md describes the files.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from tombola.base.errors import OutputError
from tombola.base.files import read_plain
from tombola.base.folders import RESULT_FILES
from tombola.lab.store import lease
from tombola.lab.store.disk import KEY, Disk
from tombola.lab.store.index import bring_up_to_date, listed
from tombola.lab.store.lease import Lease
from tombola.lab.store.result import LIMIT, Result, decode, encode, sha256

__all__ = ["Store"]

ABOUT, WEIGHTS = "result.json", "weights.safetensors"
SHELF = re.compile(r"[0-9a-f]{2}")
"""The folder that a key is in: its first two digits."""
RUN = "run-"
"""Prefix of the lease of a whole run."""


class Store:
    """Results, weights and checkpoints of trainings, and leases on the jobs in progress."""

    def __init__(self, folder: str | Path) -> None:
        """Open a store, or create one if there is none.

        Raises: OutputError, if something else or a newer store is there, or it can't be created.
        """
        self.folder = Path(folder)
        self.disk = Disk(self.folder)

    def command(self, *words: str) -> str:
        """A `tombola store` command for this store, quoted for a shell."""
        return self.disk.command(*words)

    # --- reading -------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether a job is finished; only checks that the file exists."""
        return (self.disk.at("results", key) / ABOUT).exists()

    def read(self, key: str) -> Result | None:
        """The result of a job, or None if it isn't finished.

        Raises: OutputError, if it is damaged, or was written by a newer version.
        """
        try:
            return self.decoded(key)
        except ValueError as error:
            raise self._damaged(key, str(error)) from None

    def try_read(self, key: str) -> Result | None:
        """The result of a job, or None if it isn't finished or is damaged."""
        with suppress(ValueError, OutputError):
            return self.decoded(key)
        return None

    def decoded(self, key: str) -> Result | None:
        """The result of a job, or None if it isn't finished.

        Raises: ValueError, with what is damaged; OutputError, if a newer version wrote it.
        """
        try:
            result = decode(read_plain(self.file(key, ABOUT), LIMIT, links=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(f"{ABOUT} can't be read: {error.strerror}") from None
        if result.key != key:
            raise ValueError(f"it is the result {result.key[:12]}")
        return result

    def _damaged(self, key: str, what: str) -> OutputError:
        return OutputError(
            f"expected the result {key[:12]} in {str(self.folder)!r} as it was written, got: "
            f"{what}. `{self.command('verify')}` lists everything that is damaged."
        )

    def intact(self, key: str) -> bool:
        """Whether a result is there and its files have the right sizes, and the right content if
        they were modified later; `verify` reads all of them."""
        try:
            result = self.decoded(key)
            return result is not None and not any(self.missing(result))
        except (ValueError, OSError):  # damaged, or just being deleted
            return False

    def missing(self, result: Result) -> Iterator[str]:
        """What is wrong with the files of a result, as far as `intact` checks."""
        written = self.file(result.key, ABOUT).stat().st_mtime_ns  # it is written last
        for name, size in result.sizes.items():
            file = self.file(result.key, name)
            try:
                now = file.lstat()
            except FileNotFoundError:
                yield f"{name} is missing"
                continue
            if not S_ISREG(now.st_mode):
                yield f"{name} is not a plain file"
            elif now.st_size != size:
                yield f"{name} has {now.st_size} bytes, expected {size}"
            elif now.st_mtime_ns > written and self.changed(result, name):
                yield f"{name} is not what was written"

    def changed(self, result: Result, name: str) -> bool:
        """Whether the content of a file is not what was written."""
        content = read_plain(self.file(result.key, name), result.sizes[name], links=False)
        return sha256(content) != result.files[name]

    def content(self, result: Result, name: str) -> bytes:
        """The content of a file of a result.

        Raises: OutputError, if it is missing or not what was written.
        """
        try:
            size = result.sizes[name]
            content = read_plain(self.file(result.key, name), size, links=False)
        except KeyError:
            raise self._damaged(result.key, f"one without {name}") from None
        except OSError as error:
            raise self._damaged(result.key, f"{name}: {error.strerror}") from None
        if sha256(content) != result.files[name]:
            raise self._damaged(result.key, f"a {name} that is not what was written")
        return content

    def file(self, key: str, name: str) -> Path:
        """The path of a file of a result."""
        return self.disk.at("results", key) / name

    def export(self, key: str) -> dict[str, bytes]:
        """A result as bytes, for a machine that can't read this folder.

        Raises: OutputError, if it is damaged or missing.
        """
        result = self.read(key)
        if result is None:
            raise self._damaged(key, "nothing")
        try:
            about = read_plain(self.file(key, ABOUT), LIMIT, links=False)
        except OSError as error:
            raise self._damaged(key, f"{ABOUT}: {error.strerror}") from None
        return {ABOUT: about, **{name: self.content(result, name) for name in result.files}}

    def rows(self, **wanted: Any) -> list[dict[str, Any]]:
        """One flat row for each result, by key; damaged results are left out.

        Args:
            wanted: values that columns must have, such as `kind="train", task="sentiment"`.
        """
        index = self.folder / "index.jsonl"
        rows, text = bring_up_to_date(index, self.folder / "results", self.try_read)
        if text is not None:
            with suppress(OutputError), self.disk.staging(index) as staged:  # it is only a cache
                (staged / index.name).write_text(text, encoding="utf-8")
                (staged / index.name).replace(index)
        return [row for row in rows if all(row.get(name) == wanted[name] for name in wanted)]

    def keys(self) -> set[str]:
        """The keys of all results, damaged or not."""
        found = (Path(entry.path) for entry in listed(self.folder / "results"))
        return {p.name for p in found if KEY.fullmatch(p.name) and p.parent.name == p.name[:2]}

    def save(self, result: Result, files: Mapping[str, bytes]) -> Result:
        """Save a result; if the store has it already, that one stays.

        Args:
            result: the result of a job; `files` and `sizes` are filled in.
            files: name -> content.

        Returns: the result as it is stored.
        Raises: OutputError, for an error of the disk; ValueError, if the key is wrong.
        """
        result, about = encode(
            replace(
                result,
                files={name: sha256(content) for name, content in files.items()},
                sizes={name: len(content) for name, content in files.items()},
            )
        )
        self._keep(result.key, {**files, ABOUT: about})
        return self.read(result.key) or result

    def adopt(self, files: Mapping[str, bytes]) -> str:
        """Save a result that another store has exported.

        Returns: its key.
        Raises: OutputError, if it was damaged on the way, or for an error of the disk.
        """
        try:
            result = decode(files.get(ABOUT, b""))
            sums = {name: sha256(content) for name, content in files.items() if name != ABOUT}
            if sums != result.files:
                raise ValueError("files that are not those it names")
        except ValueError as error:
            raise OutputError(
                f"expected a result as it was written, got: {error}. Send it again."
            ) from None
        self._keep(result.key, files)
        return result.key

    def _keep(self, key: str, files: Mapping[str, bytes]) -> None:
        target = self.disk.at("results", key)
        with self.disk.staging(target) as staged:
            for name in (*(files.keys() - {ABOUT}), ABOUT):
                (staged / name).write_bytes(files[name])
            self.disk.publish(staged, target, ABOUT)
        if self.disk.exists("partial", key):
            with suppress(OutputError):  # the result is safe, and `collect` tries again
                self.disk.discard("partial", key)

    def remove(self, key: str) -> None:
        """Delete a result, so that its job is done again; foreign files in its folder move to the
        store's folder `foreign`."""
        result = self.try_read(key)
        own = "|".join(map(re.escape, [ABOUT, *result.files])) if result else RESULT_FILES.pattern
        self.disk.discard(*self.disk.path_parts("results", key), made=re.compile(own))

    # --- weights and checkpoints ---------------------------------------------

    def weights(self, key: str) -> Path | None:
        """The weights of a training, if they are kept."""
        path = self.disk.at("weights", key) / WEIGHTS
        with suppress(OSError):
            return path if S_ISREG(path.lstat().st_mode) else None
        return None

    def save_weights(self, key: str, write: Callable[[Path], None]) -> Path:
        """Save the weights of a training; if the store has them already, those stay.

        Args:
            key: the key of the training.
            write: writes them as safetensors to the path that it is given.

        Raises: OutputError, for an error of the disk.
        """
        target = self.disk.at("weights", key)
        with self.disk.staging(target) as staged:
            write(staged / WEIGHTS)
            self.disk.publish(staged, target, WEIGHTS)
        return target / WEIGHTS

    def drop_weights(self, key: str) -> None:
        """Delete the weights of a training, if they are kept."""
        self.disk.delete(*self.disk.path_parts("weights", key), made=re.compile(re.escape(WEIGHTS)))

    def partial(self, key: str) -> Path:
        """The folder for the checkpoint of an unfinished training; `save` deletes it.

        Raises: OutputError, if a link is in its place.
        """
        place = self.folder / "partial" / self.disk.at("results", key).name
        if place.is_symlink() or place.parent.is_symlink():
            raise OutputError(f"expected a folder at {str(place)!r}, got a link. Remove the link.")
        return place

    def drop_partial(self, key: str) -> None:
        """Delete the checkpoint of a training, if there is one."""
        if self.disk.exists("partial", key):
            self.disk.delete("partial", key)

    # --- leases --------------------------------------------------------------

    def _lease(self, key: str) -> Path:
        return self.folder / "leases" / f"{self.disk.at('results', key).name}.json"

    def claim(self, key: str) -> Lease | None:
        """The lease on a job, or None if a running process has it; check `has` again with it.

        Raises: OutputError, for an error of the disk.
        """
        path = self._lease(key)
        with self.disk.refusals(path):
            path.parent.mkdir(exist_ok=True)
            return lease.claim(path)

    def holder(self, key: str) -> dict[str, Any] | None:
        """The process that does a job, or None: its host, pid, since, beat (both in seconds since
        1970) and progress."""
        return lease.holder(self._lease(key))

    def announce(self, weights: Iterable[str]) -> Lease:
        """A lease that says that a run reads the weights of these trainings, until it is released.

        Raises: OutputError, for an error of the disk.
        """
        path = self.folder / "leases" / f"{RUN}{secrets.token_hex(8)}.json"
        with self.disk.refusals(path):
            path.parent.mkdir(exist_ok=True)
            own = lease.claim(path)
        assert own is not None, "the name is random"
        own.beat({"weights": list(weights)})
        return own

    def wanted(self, own: Lease | None = None) -> set[str]:
        """The trainings whose weights are read by runs in progress, without the holder of `own`."""
        found: set[str] = set()
        for path in (self.folder / "leases").glob(f"{RUN}*.json"):
            if own is None or path != own.path:
                about = lease.holder(path) or {}
                found.update((about.get("progress") or {}).get("weights", ()))
        return found

    def kept_weights(self) -> list[str]:
        """The keys of the trainings whose weights are kept."""
        shelves = self.disk.listed("weights", names=SHELF)
        keys = (key for shelf in shelves for key in self.disk.listed("weights", shelf))
        return [key for key in keys if self.weights(key)]
