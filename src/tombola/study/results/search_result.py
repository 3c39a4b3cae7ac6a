"""The result.json of a search, read back: every field that a report uses is what it should be."""

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from tombola.base.errors import OutputError, brief
from tombola.base.files import read_plain

__all__ = ["read_object", "read_result"]

LIMIT = 1 << 26
"""Bytes of a JSON file."""
DEPTH_LIMIT = 32
LARGEST = 1e12
"""The largest number that a score or a time could be."""
FRACTION = re.compile(r"0(\.[0-9]{1,64})?")

Check = Callable[[Any, str], None]
"""Refuses a value, named by its place, with a ValueError that says what was expected."""


def read_result(place: Path) -> dict[str, Any]:
    """What `tombola find` wrote.

    Raises: OutputError, with the first field that is missing or not what it should be.
    """
    found = read_object(place)
    try:
        _fields(SEARCH)(found, "")
        _one_value_a_seed(found)
    except ValueError as error:
        raise OutputError(
            f"expected the output of `tombola find` in {str(place.parent)!r}, got a "
            f"{place.name} {error}. Name a search's folder as it was written, or a plan."
        ) from None
    return found


def read_object(place: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises: OutputError, if there is none, or it has a key twice or is nested without end.
    """
    try:
        found = json.loads(read_plain(place, LIMIT), object_pairs_hook=_once)
        _refuse_deep(found, 0)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "nonsense"
        raise OutputError(
            f"expected the output of `tombola find` with {str(place)!r}, got: {reason}. "
            "Name the folder that it wrote, or a plan."
        ) from None
    if not isinstance(found, dict):
        raise OutputError(
            f"expected a JSON object in {str(place)!r}, got {brief(found)}. Name the folder that "
            "`tombola find` wrote, or a plan."
        )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse_deep(value: Any, depth: int) -> None:
    if depth > DEPTH_LIMIT:
        raise ValueError(f"it is nested deeper than {DEPTH_LIMIT}")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_deep(inner, depth + 1)


# --- what a value is ---------------------------------------------------------


def _is(what: str, holds: Callable[[Any], bool]) -> Check:
    def check(value: Any, place: str) -> None:
        if not holds(value):
            raise ValueError(f"with {place} {brief(value)}, where {what} is expected")

    return check


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return isfinite(value) and abs(value) <= LARGEST


def _or_none(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def _each(check: Check, least: int = 0) -> Check:
    def of(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError(f"with {place} {brief(value)}, where a list is expected")
        for number, each in enumerate(value):
            check(each, f"{place}.{number}")

    return of


def _by_name(check: Check) -> Check:
    def of(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"with {place} {brief(value)}, where an object is expected")
        for name, each in value.items():
            check(each, f"{place}.{brief(name)[1:-1]}")

    return of


def _fields(checks: Mapping[str, Check]) -> Check:
    """An object with fields; those whose name ends in ? may be missing."""

    def of(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"with {place} {brief(value)}, where an object is expected")
        for name in checks:
            if name not in value and not name.endswith("?"):
                raise ValueError(f"without {f'{place}.{name}' if place else name!r}")
        for name, check in checks.items():
            field = name.removesuffix("?")
            inner = f"{place}.{field}" if place else field
            if field in value:
                check(value[field], inner)

    return of


TEXT = _is("text", lambda value: isinstance(value, str))
NUMBER = _is("a finite number", _is_number)
COUNT = _is("a whole number", lambda value: _is_number(value) and isinstance(value, int))
SPARSITY = _is(
    "a fraction such as '0.7'", lambda v: isinstance(v, str) and bool(FRACTION.fullmatch(v))
)
ENTRY: dict[str, Check] = {
    "values": _each(_or_none(NUMBER), 1),
    "mean": _or_none(NUMBER),
    "std": _or_none(NUMBER),
    "keys?": _each(TEXT),
    "more?": _by_name(_or_none(NUMBER)),
    "jaccard_one_shot?": _or_none(NUMBER),
}
VERDICT: dict[str, Check] = {
    "status": TEXT,
    "sentence": TEXT,
    "margin": NUMBER,
    "interval": _or_none(_each(NUMBER, 2)),
    "estimand?": _or_none(TEXT),
    "reason?": _or_none(TEXT),
    "sparsity?": _or_none(SPARSITY),
    "difference?": _or_none(NUMBER),
    "level?": _or_none(NUMBER),
    "seeds?": _or_none(COUNT),
    "seeds_needed?": _or_none(COUNT),
}
JUDGED = ("estimand", "sparsity", "difference", "level", "seeds")
"""Fields of a verdict with an interval; one without has its reason instead."""
INPUTS: dict[str, Check] = {
    **dict.fromkeys(("examples", "distinct", "tokens"), COUNT),
    **dict.fromkeys(("unknown", "cut", "empty"), NUMBER),
    "shared": _or_none(COUNT),
}
"""What a report shows of `task.counts.InputCounts`."""
SEARCH: dict[str, Check] = {
    "dense": _fields(ENTRY),
    "rounds": _each(_fields({**ENTRY, "sparsity": SPARSITY}), 1),
    "controls": _by_name(_fields(ENTRY)),
    "verdict": _fields(VERDICT),
    "tickets": _by_name(TEXT),
    **dict.fromkeys(("task", "model", "metric", "split", "key"), TEXT),
    "trivial": _or_none(NUMBER),
    "whole_model_sparsity": _or_none(NUMBER),
    "notes": _each(TEXT),
    "counts?": _by_name(_fields({"inputs": _or_none(_fields(INPUTS))})),
    "left_out?": _by_name(NUMBER),
}


def _one_value_a_seed(found: Mapping[str, Any]) -> None:
    """Refuse entries, tickets and a verdict that don't fit each other."""
    seeds = len(found["dense"]["values"])
    entries = {"dense": found["dense"]}
    entries |= {f"rounds.{number}": one for number, one in enumerate(found["rounds"])}
    entries |= {f"controls.{brief(name)[1:-1]}": one for name, one in found["controls"].items()}
    for place, entry in entries.items():
        for name in ("values", "keys"):
            if len(entry.get(name) or entry["values"]) != seeds:
                raise ValueError(
                    f"with {len(entry[name])} {place}.{name}, where {seeds} are expected"
                )
    for seed in found["tickets"]:
        if not re.fullmatch(r"[0-9]{1,19}", seed):
            raise ValueError(
                f"with a ticket of seed {brief(seed)}, where a whole number is expected"
            )
    if len(found["tickets"]) not in (0, seeds):
        raise ValueError(f"with {len(found['tickets'])} tickets, where {seeds} are expected")
    verdict = found["verdict"]
    needed = ("reason",) if verdict["interval"] is None else JUDGED
    for name in needed:
        if verdict.get(name) is None:
            raise ValueError(f"without 'verdict.{name}'")
    if verdict["interval"] is not None and len(verdict["interval"]) != 2:
        raise ValueError("with a verdict.interval of more than two ends")
