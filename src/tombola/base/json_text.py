"""JSON as its standard has it, written and read: without NaN, infinity and repeated keys."""

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["finite", "json_text", "parse_json", "plain"]


def plain(value: Any) -> Any:
    """Content as JSON has it: decimals, paths and keys as text."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, Path) else value


def finite(value: Any) -> Any:
    """Content with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(content: Any) -> str:
    """A document that every JSON parser accepts, ending with a line break.

    A number that is not finite becomes null; `not_finite` of the outermost object lists where, and
    what the number was: `{"rounds.0.mean": "nan"}`.
    """
    lost = dict(_not_finite(content, ""))
    written = finite(content)
    if lost and isinstance(written, dict):
        written["not_finite"] = lost
    return json.dumps(written, indent=1, allow_nan=False) + "\n"


def _not_finite(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list | tuple):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in inside:
            yield from _not_finite(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, str(value)


def parse_json(content: bytes, *, depth_limit: int | None = None) -> Any:
    """What a JSON document in UTF-8 says.

    Args:
        content: the document.
        depth_limit: how many lists and objects may be inside one another.

    Raises: ValueError, for anything else, a repeated key, a number that JSON doesn't have, or
        deeper nesting.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if depth_limit is not None:
        _refuse_deep(value, depth_limit)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _refuse_deep(value: Any, limit: int) -> None:
    level = [value]
    for _ in range(limit + 1):
        level = [inner for each in level for inner in _inside(each)]
    if level:
        raise ValueError(f"it is nested deeper than {limit}")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
