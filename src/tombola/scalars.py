"""What a field of one value may hold, and what it is called in a message."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tombola.errors import SpecError

__all__ = ["CALLED", "check_scalars"]

CALLED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
"""Type of a field -> what may stand there."""


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
            raise SpecError(f"{field.name} is {CALLED[kind]}, got {value!r}.")
