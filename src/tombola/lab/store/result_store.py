"""Finished jobs by what made them, in a folder that many processes share (docs/store-format.md)."""

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

__all__ = ["Result", "Store"]

ABOUT, WEIGHTS = "result.json", "weights.safetensors"
SHELF = re.compile(r"[0-9a-f]{2}")
"""The first digits of a key, for which a folder stands."""
RUN = "run-"
"""How the lease of a whole run begins."""


class Store:
    """Results, the weights of trainings, checkpoints of unfinished ones, and who is at what."""

    def __init__(self, folder: str | Path) -> None:
        """Open a store, or create it where nothing is.

        Raises: OutputError, if something else is there, a newer store, or it can't be created.
        """
        self.folder = Path(folder)
        self.disk = Disk(self.folder)

    def command(self, *words: str) -> str:
        """A command that looks after this store, to be copied into a shell."""
        return self.disk.command(*words)

    # --- reading -------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether a job is finished; costs one look."""
        return (self.disk.at("results", key) / ABOUT).exists()

    def read(self, key: str) -> Result | None:
        """What a job has left, or None if it isn't finished.

        Raises: OutputError, if that is damaged, or was written by a newer program.
        """
        try:
            return self.decoded(key)
        except ValueError as error:
            raise self._damaged(key, str(error)) from None

    def try_read(self, key: str) -> Result | None:
        """The same; None if it is damaged, too."""
        with suppress(ValueError, OutputError):
            return self.decoded(key)
        return None

    def decoded(self, key: str) -> Result | None:
        """The same, with a ValueError that says what is damaged."""
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
            f"{what}. `{self.command('verify')}` lists all that is damaged."
        )

    def intact(self, key: str) -> bool:
        """Whether a result is there and its files have their sizes, and their contents where they
        were touched after it was written; `verify` reads all."""
        try:
            result = self.decoded(key)
            return result is not None and not any(self.missing(result))
        except (ValueError, OSError):  # damaged, or somebody takes it out just now
            return False

    def missing(self, result: Result) -> Iterator[str]:
        """What is wrong with the files of a result, as far as `intact` looks."""
        written = self.file(result.key, ABOUT).stat().st_mtime_ns  # it is written last
        for name, size in result.sizes.items():
            file = self.file(result.key, name)
            try:
                now = file.lstat()
            except FileNotFoundError:
                yield f"{name} is missing"
                continue
            if not S_ISREG(now.st_mode):
                yield f"{name} is no plain file"
            elif now.st_size != size:
                yield f"{name} has {now.st_size} bytes, expected {size}"
            elif now.st_mtime_ns > written and self.changed(result, name):
                yield f"{name} is not what was written"

    def changed(self, result: Result, name: str) -> bool:
        """Whether a file of a result has another content than was written."""
        content = read_plain(self.file(result.key, name), result.sizes[name], links=False)
        return sha256(content) != result.files[name]

    def content(self, result: Result, name: str) -> bytes:
        """A file of a result, with the content that was written.

        Raises: OutputError, if it has another or is not there.
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
        """Where a file of a result is."""
        return self.disk.at("results", key) / name

    def export(self, key: str) -> dict[str, bytes]:
        """A result as bytes, for a machine that doesn't see this folder.

        Raises: OutputError, if it is damaged or not there.
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
        """One flat row a result, by key; damaged results are left out.

        Args:
            wanted: columns and what they must hold: `kind="train", task="sentiment"`.
        """
        index = self.folder / "index.jsonl"
        rows, text = bring_up_to_date(index, self.folder / "results", self.try_read)
        if text is not None:
            with suppress(OutputError), self.disk.aside(index) as beside:  # it is only a cache
                (beside / index.name).write_text(text, encoding="utf-8")
                (beside / index.name).replace(index)
        return [row for row in rows if all(row.get(name) == wanted[name] for name in wanted)]

    def keys(self) -> set[str]:
        """Whatever stands where a result belongs, damaged or not."""
        found = (Path(entry.path) for entry in listed(self.folder / "results"))
        return {p.name for p in found if KEY.fullmatch(p.name) and p.parent.name == p.name[:2]}

    def save(self, result: Result, files: Mapping[str, bytes]) -> Result:
        """Keep a result; if it is there already, that one stays.

        Args:
            result: what came of a job; `files` and `sizes` are filled in.
            files: name -> content.

        Returns: the result as it is kept.
        Raises: OutputError, if the disk refuses; ValueError, if the key is a wrong one.
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
        """Keep a result that another store has exported; its key.

        Raises: OutputError, if it was damaged on the way, or the disk refuses.
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
        with self.disk.aside(target) as beside:
            for name in (*(files.keys() - {ABOUT}), ABOUT):
                (beside / name).write_bytes(files[name])
            self.disk.settle(beside, target, ABOUT)
        if self.disk.there("partial", key):
            with suppress(OutputError):  # the result is safe, and `collect` tries again
                self.disk.discard("partial", key)

    def remove(self, key: str) -> None:
        """Take out a result, so that its job is done again; what others have put there is kept in
        the folder `foreign` of the store."""
        result = self.try_read(key)
        own = "|".join(map(re.escape, [ABOUT, *result.files])) if result else RESULT_FILES.pattern
        self.disk.discard(*self.disk.way("results", key), made=re.compile(own))

    # --- weights and checkpoints ---------------------------------------------

    def weights(self, key: str) -> Path | None:
        """The weights of a training, if they are kept."""
        path = self.disk.at("weights", key) / WEIGHTS
        with suppress(OSError):
            return path if S_ISREG(path.lstat().st_mode) else None
        return None

    def save_weights(self, key: str, write: Callable[[Path], None]) -> Path:
        """Keep the weights of a training; if some are there already, those stay.

        Args:
            key: of the training.
            write: writes them as safetensors to the path it is given.

        Raises: OutputError, if the disk refuses.
        """
        target = self.disk.at("weights", key)
        with self.disk.aside(target) as beside:
            write(beside / WEIGHTS)
            self.disk.settle(beside, target, WEIGHTS)
        return target / WEIGHTS

    def drop_weights(self, key: str) -> None:
        """Remove the weights of a training, if they are kept."""
        self.disk.delete(*self.disk.way("weights", key), made=re.compile(re.escape(WEIGHTS)))

    def partial(self, key: str) -> Path:
        """Where an unfinished training keeps its checkpoint; `save` removes it.

        Raises: OutputError, if a link is in its place.
        """
        place = self.folder / "partial" / self.disk.at("results", key).name
        if place.is_symlink() or place.parent.is_symlink():
            raise OutputError(f"expected a folder at {str(place)!r}, got a link. Remove the link.")
        return place

    def drop_partial(self, key: str) -> None:
        """Remove the checkpoint of a training, if there is one."""
        if self.disk.there("partial", key):
            self.disk.delete("partial", key)

    # --- who is at what ------------------------------------------------------

    def _lease(self, key: str) -> Path:
        return self.folder / "leases" / f"{self.disk.at('results', key).name}.json"

    def claim(self, key: str) -> Lease | None:
        """The right to do a job, or None if a living process has it; look at `has` once more then.

        Raises: OutputError, if the disk refuses.
        """
        path = self._lease(key)
        with self.disk.refusals(path):
            path.parent.mkdir(exist_ok=True)
            return lease.claim(path)

    def holder(self, key: str) -> dict[str, Any] | None:
        """Who is at a job: host, pid, since, beat (both in seconds since 1970) and progress."""
        return lease.holder(self._lease(key))

    def announce(self, weights: Iterable[str]) -> Lease:
        """Say that a run will read the weights of these trainings, until the lease is released.

        Raises: OutputError, if the disk refuses.
        """
        path = self.folder / "leases" / f"{RUN}{secrets.token_hex(8)}.json"
        with self.disk.refusals(path):
            path.parent.mkdir(exist_ok=True)
            own = lease.claim(path)
        assert own is not None, "a name that nobody else has"
        own.beat({"weights": list(weights)})
        return own

    def wanted(self, own: Lease | None = None) -> set[str]:
        """The trainings whose weights somebody alive reads, besides the run that has `own`."""
        found: set[str] = set()
        for path in (self.folder / "leases").glob(f"{RUN}*.json"):
            if own is None or path != own.path:
                about = lease.holder(path) or {}
                found.update((about.get("progress") or {}).get("weights", ()))
        return found

    def kept_weights(self) -> list[str]:
        """The keys of the trainings whose weights are here."""
        shelves = self.disk.listed("weights", names=SHELF)
        keys = (key for shelf in shelves for key in self.disk.listed("weights", shelf))
        return [key for key in keys if self.weights(key)]
