"""The knobs of a search, and the command that reproduces its result."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from tombola.base.specs import SEEDS, FindSpec, TrainSpec

__all__ = ["command", "recipe", "recorded", "searched"]


def searched(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a search, those at their default included.

    Args:
        facts: what `search_facts` returns; without experiment.json the knobs that its ticket and
            its result record, those of a finder included, and defaults for the rest.
    """
    about, result = facts["tickets"][0]["about"], facts["result"]
    known = {field.name: field.default for field in dataclasses.fields(FindSpec)}
    known = facts["finder"]["knobs"] | known
    names, recorded_knobs = list(known), recorded(about, "knobs")
    known |= _plain(recorded_knobs)
    known |= {name: about[name] for name in ("scope", "sparsity", "schedule", "step")}
    known["finder"] = facts["finder"]["name"]
    known["controls"] = list(result["controls"])
    known |= _plain(facts["experiment"] or {})
    known |= {"model": result["model"], "task": result["task"]}
    known["seeds"] = [int(seed) for seed in facts["seeds"]]
    rounds = about["provenance"].get("rounds") or recorded_knobs.get("rounds")
    known["rounds"] = rounds if isinstance(rounds, list) and _is_plain(rounds) else None
    if known["rounds"]:
        known |= {"schedule": None, "step": None}
    return {name: known[name] for name in names if known.get(name) is not None}


def recipe(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a training but its seeds, as far as a ticket records ones that exist."""
    given = recorded(facts["tickets"][0]["about"], "recipe")
    kinds = {field.name: field.type for field in dataclasses.fields(TrainSpec)}
    return {n: v for n, v in given.items() if n not in SEEDS and _fits(v, kinds.get(n))}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some values that a knob can have."""
    return {name: value for name, value in values.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Whether a value is text, a number, true or false, or a list of them."""
    listed = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(each, str | int | float | bool) for each in listed)


def recorded(about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in a ticket's provenance; empty if there is none."""
    found = about["provenance"].get(name)
    return found if isinstance(found, Mapping) else {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is one that a knob of that type can have."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return kind is not None and isinstance(value, {float: (int, float)}.get(kind, kind))


def command(facts: Mapping[str, Any]) -> str:
    """The `tombola find` that reproduces the result, given the same numerics."""
    numerics = recorded(facts["tickets"][0]["about"], "numerics")
    knobs = searched(facts) | facts["task"] | recipe(facts)
    if (split := facts["result"]["split"]) != "test":
        knobs["eval_split"] = split
    knobs["drop_bad_rows"] = _has_dropped(facts["result"])
    counted = {name: numerics.get(name) for name in ("threads", "processes")}
    knobs |= {name: value for name, value in counted.items() if _fits(value, int)}
    return " \\\n  ".join(["tombola find", *_flags(knobs)])


def _has_dropped(result: Mapping[str, Any]) -> bool:
    """Whether rows that can't be used were left out."""
    counts = result.get("counts")
    splits = counts.values() if isinstance(counts, Mapping) else ()
    return any(isinstance(each, Mapping) and bool(each.get("dropped")) for each in splits)


def _flags(knobs: Mapping[str, Any]) -> list[str]:
    flags = []
    for name, value in knobs.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            flags += [flag] * value
        elif isinstance(value, list | tuple):
            flags.append(f"{flag} {shlex.quote(','.join(map(str, value)) or 'none')}")
        else:
            flags.append(f"{flag} {shlex.quote(str(value))}")
    return flags
