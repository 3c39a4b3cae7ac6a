"""What a store can do without: whatever can be made again, and what ended processes have left."""

import re
from collections.abc import Sequence

from tombola.base.folders import RESULT_FILES
from tombola.lab.store import lease
from tombola.lab.store.result_store import WEIGHTS, Store

__all__ = ["collect"]


def collect(store: Store, *, everything: bool = False) -> dict[str, int]:
    """Remove weights, checkpoints, and the temporary files and leases of ended processes.

    The weights that a run reads which is at work now stay.

    Args:
        store: to be tidied.
        everything: remove checkpoints of unfinished jobs as well, unless a process works on them.

    Returns: how many weights, tmp, partial and leases were removed, and how many bytes.
    """
    freed = dict.fromkeys(("weights", "tmp", "partial", "leases", "bytes"), 0)
    disk, wanted = store.disk, store.wanted()
    for key in store.kept_weights():
        if key not in wanted:
            made = re.compile(re.escape(WEIGHTS))
            _free(store, "weights", disk.way("weights", key), made, freed)
    for name in list(disk.litter()):
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
    store: Store, what: str, way: Sequence[str], made: re.Pattern[str], freed: dict[str, int]
) -> None:
    """Delete a folder, and count it if it is gone."""
    freed["bytes"] += store.disk.delete(*way, made=made)
    freed[what] += not store.disk.there(*way)
