"""JSON as its standard has it, which knows neither NaN nor infinity."""

import json
import math
from collections.abc import Iterator
from typing import Any

__all__ = ["finite", "json_text"]


def finite(value: Any) -> Any:
    """The same content with None in the place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(content: Any) -> str:
    """A document that every reader of JSON takes, with a line break at its end.

    A number that is not finite becomes null; `not_finite` of the outermost object lists where, and
    what stood there: `{"rounds.0.mean": "nan"}`.
    """
    lost = dict(_not_finite(content, ""))
    plain = finite(content)
    if lost and isinstance(plain, dict):
        plain["not_finite"] = lost
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _not_finite(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list | tuple):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in inside:
            yield from _not_finite(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, str(value)
