"""What the bits of a result depend on besides its spec, compared between results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tombola.base.errors import OutputError, SpecError

if TYPE_CHECKING:
    from tombola.lab.run.payload import Payload
    from tombola.lab.store.result_store import Store

__all__ = ["environment", "numerics_digest", "refuse_mixed", "refuse_others"]

OF_THE_RECIPE = ("precision", "kernel")
"""Fields that a recipe decides, and so differ between the tasks of one plan."""


def environment(numerics: Mapping[str, object]) -> dict[str, object]:
    """What a machine and its software have to do with it, whatever the recipe."""
    return {name: value for name, value in numerics.items() if name not in OF_THE_RECIPE}


def numerics_digest(numerics: Mapping[str, object]) -> str:
    """A name for numerics, or for the environment of them: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(numerics, sort_keys=True).encode()).hexdigest()[:12]


def refuse_others(store: "Store", payload: "Payload", numerics: Mapping[str, object]) -> None:
    """Refuse a training next to others of its plan that were made in another environment.

    Args:
        store: what is done of the plan.
        payload: the training, and the names of the plan's others.
        numerics: those that it has.

    Raises: OutputError, with both numerics and what to do.
    """
    here = environment(numerics)
    for key in payload.peers:
        other = store.try_read(key)
        if other is None or not other.numerics or environment(other.numerics) == here:
            continue
        there = environment(other.numerics)
        fields = sorted(n for n in {*here, *there} if here.get(n) != there.get(n))
        theirs = ", ".join(f"{name} {there.get(name, 'not recorded')}" for name in fields)
        ours = ", ".join(f"{name} {here.get(name, 'not recorded')}" for name in fields)
        forget = store.command("forget", "--numerics", numerics_digest(there))
        raise OutputError(
            f"results of one plan share their numerics, but {other.label} in "
            f"{str(store.folder)!r} was made with {theirs} (numerics {numerics_digest(there)}), "
            f"and {payload.label} would be with {ours} (numerics {numerics_digest(here)}). Run it "
            f"like the other, or take that out with `{forget}`."
        )


def refuse_mixed(numerics: Sequence[Mapping[str, object]], names: Sequence[str] = ()) -> None:
    """Refuse to pool runs whose arithmetic differs: their difference is not the ticket's.

    Args:
        numerics: of each run, such as threads, precision, kernel path and library versions.
        names: of the runs, for the error; by default their numbers.

    Raises: SpecError, naming the first run that differs from the first, the field and both values.
    """
    told = names or [f"run {number}" for number in range(1, len(numerics) + 1)]
    for name, record in zip(told[1:], numerics[1:], strict=True):
        for field in sorted({*numerics[0], *record}):
            values = [one.get(field, "not recorded") for one in (numerics[0], record)]
            if values[0] != values[1]:
                raise SpecError(
                    f"runs to compare share their numerics, but {field} is {values[0]} in "
                    f"{told[0]} and {values[1]} in {name}. Rerun one of them like the other: "
                    "`tombola store forget` takes a result out."
                )
