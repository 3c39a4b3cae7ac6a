"""What a field of one value may hold, and what it is called in a message."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tombola.errors import SpecError, brief

__all__ = ["CALLED", "MOST", "check_scalars", "refuse_above"]

CALLED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
"""Type of a field -> what may stand there."""


MOST = 2**63 - 1
"""The largest whole number of a field."""


def refuse_above(value: float, most: float, name: str) -> None:
    """Refuse a number that is larger than a knob takes.

    Raises: SpecError, naming the knob.
    """
    if value > most:
        raise SpecError(f"{name} is at most {most:,.0f}, got {brief(value)}.")


def check_scalars(spec: Any) -> None:
    """Refuse fields of a dataclass that are not what they are declared as.

    Args:
        spec: with fields declared int, float, bool or str; others are not looked at. A whole
            number is a float, true and false are no numbers.

    Raises: SpecError, naming the field.
    """
    for field in dataclasses.fields(spec):
        value, kind = getattr(spec, field.name), field.type
        if kind not in CALLED:
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)  # type: ignore[arg-type]
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise SpecError(f"{field.name} is {CALLED[kind]}, got {brief(value)}.")
        if kind in (int, float) and isinstance(value, int):
            refuse_above(abs(value), MOST, field.name)
