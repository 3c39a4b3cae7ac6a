"""Garbage collection: deletes what can be made again, and what ended processes have left."""

import re
from collections.abc import Sequence

from tombola.base.folders import RESULT_FILES
from tombola.lab.store import lease
from tombola.lab.store.result_store import WEIGHTS, Store

__all__ = ["collect"]


def collect(store: Store, *, everything: bool = False) -> dict[str, int]:
    """Delete weights, checkpoints, and the temporary files and leases of ended processes.

    Weights that a run in progress reads are kept.

    Args:
        store: the store to clean.
        everything: delete checkpoints of unfinished jobs as well, unless a process works on them.

    Returns: the number of weights, tmp, partial and leases that were deleted, and of bytes freed.
    """
    freed = dict.fromkeys(("weights", "tmp", "partial", "leases", "bytes"), 0)
    disk, wanted = store.disk, store.wanted()
    for key in store.kept_weights():
        if key not in wanted:
            made = re.compile(re.escape(WEIGHTS))
            _free(store, "weights", disk.path_parts("weights", key), made, freed)
    for name in list(disk.leftovers()):
        freed["bytes"] += disk.sweep(name)
        freed["tmp"] += 1
    for key in disk.listed("partial"):
        useless = everything or store.has(key)
        if useless and (free := store.claim(key)):
            with free:
                _free(store, "partial", ("partial", key), RESULT_FILES, freed)
    freed["leases"] = lease.sweep(store.folder / "leases")
    return freed


def _free(
    store: Store, what: str, place: Sequence[str], made: re.Pattern[str], freed: dict[str, int]
) -> None:
    """Delete a folder, and count it if nothing of it is left."""
    freed["bytes"] += store.disk.delete(*place, made=made)
    freed[what] += not store.disk.exists(*place)
