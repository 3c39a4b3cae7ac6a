"""A group of knobs, checked when it is made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tombola.base.errors import SpecError, brief
from tombola.base.fields import check_types

__all__ = ["STEPS", "Spec", "check_distinct", "refuse_repeated"]

STEPS = 2**31 - 1
"""The largest number of examples, tokens or optimizer steps that a knob takes."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A group of knobs, each of which holds what it is declared as."""

    def __post_init__(self) -> None:
        check_types(self)


def check_distinct(seeds: Collection[int]) -> None:
    """Refuse seeds that are not different whole numbers from 0.

    Raises: SpecError.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise SpecError(f"seeds must be distinct integers of 0 or more, got {brief(seeds)}.")


def refuse_repeated(field: str, names: Sequence[str]) -> None:
    """Refuse a name that stands twice among those of a field.

    Raises: SpecError, with the first of them.
    """
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise SpecError(f"{field} must be different names, got {twice!r} twice. List it once.")
