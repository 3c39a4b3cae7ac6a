"""Fractions as exact decimals, the knobs of a spec as JSON, and the key that names a result."""

import dataclasses
import hashlib
import json
from decimal import Decimal
from typing import Any

from tombola.base.errors import SpecError, brief, cut
from tombola.base.fields import number

__all__ = ["NUMERIC", "PLACES", "changed_knobs", "exact_fraction", "json_value", "key"]

NUMERIC = "numeric"
"""In the metadata of a field that changes the last digits of a result, but not what it is."""

PLACES = 64
"""Decimal places of a fraction."""

DIGITS = 28
"""Digits of a fraction after its leading zeros, as many as arithmetic with decimals keeps."""


def exact_fraction(value: str | float | Decimal, what: str = "sparsity") -> Decimal:
    """A fraction as the exact decimal that was written: 0.7 is 7/10, not 0.699999...

    Args:
        value: a fraction in [0, 1); a float stands for its shortest decimal.
        what: the knob's name, for the error.

    Raises: SpecError, if it is not a number in [0, 1).
    """
    try:
        written = number(str(value), Decimal)
    except (ArithmeticError, ValueError):
        written = Decimal("NaN")
    if written.is_nan():
        raise SpecError(f"{what} must be at least 0 and below 1, got {brief(value)}.")
    if not 0 <= written < 1:
        hint = f" For {value} % write {written / 100}." if 1 < written < 100 else ""
        raise SpecError(f"{what} must be at least 0 and below 1, got {cut(value)[1:-1]}.{hint}")
    if written and written.adjusted() < -PLACES:
        raise SpecError(
            f"{what} must have at most {PLACES} decimal places, got {cut(value)[1:-1]}. Write 0 "
            "for none."
        )
    if len("".join(map(str, written.as_tuple().digits)).rstrip("0")) > DIGITS:
        raise SpecError(
            f"{what} must have at most {DIGITS} digits, got {cut(value)[1:-1]}. Round it to fewer "
            "decimal places."
        )
    return written.normalize() + 0 if written else Decimal(0)  # which turns -0 into 0


def changed_knobs(spec: Any) -> dict[str, Any]:
    """The knobs of a spec that are not at their default, as JSON has them.

    Defaults are left out, so that a new knob does not change the keys of old results, and so are
    fields that the numerics of a result have (`NUMERIC`).
    """
    changed = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value != field.default and NUMERIC not in field.metadata:
            changed[field.name] = json_value(value)
    return changed


def json_value(value: Any) -> Any:
    """The value of a knob as JSON has it: decimals as their text."""
    if isinstance(value, tuple):
        return tuple(map(json_value, value))
    return format(value, "f") if isinstance(value, Decimal) else value


def key(kind: str, version: int, **made_of: Any) -> str:
    """The name of a result: 64 hexadecimal digits, from what made it.

    Args:
        kind: what was done.
        version: the version of that kind; incremented when the same knobs come to mean something
            else.
        made_of: fingerprints of model and data, and knobs, as JSON has them.
    """
    content = json.dumps([kind, version, made_of], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
