"""Numerics: all that the last digits of a result depend on, except its spec; compared here."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tombola.base.errors import OutputError, SpecError

if TYPE_CHECKING:
    from tombola.lab.run.payload import Payload
    from tombola.lab.store.result_store import Store

__all__ = [
    "RERUN",
    "MixedNumericsError",
    "environment",
    "numerics_digest",
    "refuse_mixed",
    "refuse_others",
]

OF_THE_RECIPE = ("precision", "kernel", "sparse_products")
"""Fields that follow from the recipe, and so may differ between the tasks of one plan."""

RERUN = "Rerun one of them with the numerics of the other: `tombola store forget` deletes a result."
"""What to do about results with different numerics."""


def environment(numerics: Mapping[str, object]) -> dict[str, object]:
    """The part of numerics that machine and software decide, whatever the recipe."""
    return {name: value for name, value in numerics.items() if name not in OF_THE_RECIPE}


def numerics_digest(numerics: Mapping[str, object]) -> str:
    """A name for numerics, or for their environment: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(numerics, sort_keys=True).encode()).hexdigest()[:12]


def refuse_others(store: "Store", payload: "Payload", numerics: Mapping[str, object]) -> None:
    """Refuse a training if others of its plan were made in another environment.

    Args:
        store: has the trainings of the plan that are done.
        payload: the training, with the keys of the plan's other trainings.
        numerics: the numerics of the training.

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
            f"results of one plan share their numerics, but {other.label} in {str(store.folder)!r} "
            f"was made with {theirs} (numerics {numerics_digest(there)}), and {payload.label} "
            f"would be made with {ours} (numerics {numerics_digest(here)}). Run it with the same "
            f"numerics, or delete that one with `{forget}`."
        )


class MixedNumericsError(SpecError):
    """Runs that would be compared differ in their numerics."""


def refuse_mixed(
    numerics: Sequence[Mapping[str, object]], names: Sequence[str] = (), *, remedy: str = RERUN
) -> None:
    """Refuse to pool runs whose numerics differ: their scores would differ for that alone.

    Args:
        numerics: those of each run: threads, precision, kernel, versions of libraries, and others.
        names: the names of the runs, for the error; by default they are numbered.
        remedy: what to do, for the error.

    Raises: MixedNumericsError, naming the first run that differs from the first, the field and
        both values.
    """
    named = names or [f"run {number}" for number in range(1, len(numerics) + 1)]
    for name, record in zip(named[1:], numerics[1:], strict=True):
        for field in sorted({*numerics[0], *record}):
            values = [one.get(field, "not recorded") for one in (numerics[0], record)]
            if values[0] != values[1]:
                raise MixedNumericsError(
                    f"runs to compare share their numerics, but {field} is {values[0]} in "
                    f"{named[0]} and {values[1]} in {name}. {remedy}"
                )
