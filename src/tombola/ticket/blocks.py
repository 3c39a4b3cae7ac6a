"""The repeated blocks of a network, read off the names of its weights."""

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["Blocks", "blocks_of"]

Blocks = dict[str, dict[int, dict[str, str]]]
"""List of blocks -> number of the block -> name within the block -> full name."""


def blocks_of(names: Iterable[str]) -> Blocks:
    """The blocks that weights belong to, lists and numbers in order, names in theirs.

    A block's number is the first component of a name that is all digits: what stands before it
    is the list of blocks, what stands after it the name within the block. Weights without a
    number belong to no block and are left out.
    """
    found: defaultdict[str, defaultdict[int, dict[str, str]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for name in names:
        parts = name.split(".")
        number = next((n for n, part in enumerate(parts) if part.isdecimal()), None)
        if number is not None:
            place, within = ".".join(parts[:number]), ".".join(parts[number + 1 :])
            found[place][int(parts[number])][within] = name
    return {place: dict(sorted(found[place].items())) for place in sorted(found)}
