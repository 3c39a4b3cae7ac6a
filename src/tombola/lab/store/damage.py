"""Everything wrong in a store: damaged results, wrong caches and foreign files."""

import os
from collections.abc import Iterator
from pathlib import Path

from tombola.base.errors import OutputError
from tombola.lab.store.disk import KEY
from tombola.lab.store.index import listed, misread
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import damaged_fingerprints

__all__ = ["damage_in"]

ABOUT = "result.json"
PARTS = ("results", "weights", "partial", "leases", "tmp")
DEPTH = {"weights": 3, "partial": 3, "leases": 1, "tmp": 1}
"""How many levels of each part are searched for links."""


def damage_in(store: Store) -> Iterator[tuple[str, str]]:
    """Key or file name, and what is wrong, for everything that is damaged or foreign."""
    for part in PARTS:
        if (store.folder / part).is_symlink():
            yield part, "is a link, which no store has"
        else:
            yield from _links(store.folder, part, DEPTH.get(part, 0))
    results = store.folder / "results"
    for shelf in sorted(results.iterdir()) if results.is_dir() else ():
        if len(shelf.name) != 2 or shelf.is_symlink() or not shelf.is_dir():
            yield shelf.name, "is not part of a store"
    for entry in listed(results):
        if not KEY.fullmatch(entry.name) or Path(entry.path).parent.name != entry.name[:2]:
            yield entry.name, "is not a result"
        elif entry.is_symlink():
            yield entry.name, "is a link, not a result"
        else:
            yield from ((entry.name, what) for what in _wrong(store, entry.name))
    yield from misread(store.folder / "index.jsonl", results, store.try_read)
    if wrong := damaged_fingerprints(store.folder):
        what = f"has {len(wrong)} entries that have changed since; they will be computed again"
        yield "fingerprints.json", what


def _links(folder: Path, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """The links in a part of the store; a store never makes one."""
    if not depth or not (folder / name).is_dir():
        return
    with os.scandir(folder / name) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_symlink():
            yield f"{name}/{entry.name}", "is a link, which no store has"
        elif entry.is_dir():
            yield from _links(folder, f"{name}/{entry.name}", depth - 1)


def _wrong(store: Store, key: str) -> Iterator[str]:
    """What is wrong with one result."""
    try:
        result = store.decoded(key)
        found = {path.name for path in store.file(key, ABOUT).parent.iterdir()}
    except (ValueError, OutputError, OSError) as error:
        yield str(error)
        return
    if result is None:
        yield f"{ABOUT} is missing"
        return
    yield from (f"{name} is unknown" for name in sorted(found - {ABOUT, *result.files}))
    missing = list(store.missing(result))
    yield from missing
    for name in result.files if not missing else ():
        try:
            changed = store.changed(result, name)
        except OSError as error:
            yield f"{name} can't be read: {error.strerror}"
        else:
            if changed:
                yield f"{name} is not what was written"
