"""One convention for labels, whatever file and split they are in: numbers count by their value.

`1`, `+1`, `01`, `1.0`, the number 1 and the decimal 1.0 are one class, and one value. So
are `true`, `True`, `TRUE` and the value true.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from functools import cache
from math import isfinite
from typing import Any

__all__ = ["class_name", "class_of", "classes_in", "is_number", "one_class", "value_of"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
"""A number as CSV files have it; what is longer than 40 characters is a text."""
LONGEST = 40
MISSING = {"", "nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
"""What is written, in upper or lower case, for a label that is missing or not a number."""
TRUTHS = {"False": "0", "True": "1"}
"""Truth values as Python writes them, whatever their case in a file -> the number of each."""
LARGEST = 3.4e38
"""The largest number that 32 bits hold."""


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    text = text.strip()
    return len(text) <= LONGEST and NUMBER.fullmatch(text) is not None


def class_name(label: Any) -> str | None:
    """The name of a class, however it is spelled; None for anything else.

    Args:
        label: text, of which the spaces around it are no part; a number; true or false, also as
            text in any case. Anything else, blank or not finite, is not a class.
    """
    if isinstance(label, bool):
        return str(label)
    if isinstance(label, int | float | Decimal):
        return _plain(str(label)) if _finite(label) else None
    if not isinstance(label, str) or label.strip().lower() in MISSING:
        return None
    text = label.strip()
    if text.capitalize() in TRUTHS:
        return text.capitalize()
    return _plain(text) if is_number(text) else text


def _finite(number: float | Decimal) -> bool:
    if isinstance(number, Decimal):
        return number.is_finite()
    return isinstance(number, int) or isfinite(number)  # a whole number may be too large to ask


@cache
def _plain(number: str) -> str:
    """A number without a sign of plus, an exponent, and zeros that say nothing."""
    with localcontext(prec=1200):
        plain = f"{Decimal(number).normalize():f}"
    return "0" if plain == "-0" else plain


def classes_in(labels: Iterable[Any]) -> tuple[str, ...]:
    """The classes of a column: by value if all are numbers, else as texts are sorted."""
    names = {name for label in labels if (name := class_name(label)) is not None}
    if all(map(is_number, names)):
        return tuple(sorted(names, key=Decimal))
    return tuple(sorted(names))


def class_of(label: Any, names: Sequence[str]) -> int | None:
    """The number of a class, None if it is none of the names.

    Args:
        label: the label as it is in the data.
        names: the names of the classes in order. If none of them is a number, a number is the place
            of a class, from 0.
    """
    if isinstance(label, str) and label.strip() in names:
        return names.index(label.strip())
    name = class_name(label)
    if name is None:
        return None
    known, places = _known(tuple(names))
    for spelled in (name, TRUTHS.get(name, name)):
        if spelled in known:
            return known[spelled]
        if spelled in places:
            return int(spelled)
    return None


@cache
def _known(names: tuple[str, ...]) -> tuple[dict[str, int], frozenset[str]]:
    """Name -> number of a class, and the numbers that stand for one."""
    known = {name: number for number, name in enumerate(names)}
    for number, name in enumerate(names):
        known.setdefault(class_name(name) or name, number)
    if any(map(is_number, names)):
        return known, frozenset()
    return known, frozenset(map(str, range(len(names))))


def value_of(label: Any) -> float | None:
    """The value of a regression, None for anything but a finite number.

    It is the shortest decimal for its 32 bits, which is what a network is trained on: so a column
    of 32-bit floats and one of texts are the same data.
    """
    import numpy as np

    if isinstance(label, str) and is_number(label):
        label = Decimal(label.strip())
    if not (isinstance(label, int | float | Decimal) and _finite(label)):
        return None
    if not -LARGEST <= label <= LARGEST:
        return None
    return float(str(np.float32(float(label)))) + 0.0  # which turns -0 into 0


def one_class(label: Any) -> str:
    """What a label must be where it is not a class."""
    several = isinstance(label, list | tuple | dict)
    return f"one class{' (several, multi-label classification, is not supported yet)' * several}"
