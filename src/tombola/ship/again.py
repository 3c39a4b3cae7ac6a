"""A search as knobs again: what they were, and the command that makes the same result."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from tombola.specs import SEEDS, FindSpec

__all__ = ["command", "recipe", "searched"]


def searched(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a search, those at their default too.

    Args:
        facts: what `study.dossier.of_search` gives; without experiment.json what its ticket and its
            result tell, and defaults for the rest.
    """
    about, result = facts["tickets"][0]["about"], facts["result"]
    names = [field.name for field in dataclasses.fields(FindSpec)]
    known = {field.name: field.default for field in dataclasses.fields(FindSpec)}
    known |= {name: about[name] for name in ("scope", "sparsity", "schedule", "step")}
    known["controls"] = list(result["controls"])
    known |= facts["experiment"] or {}
    known |= {"model": result["model"], "task": result["task"]}
    known["seeds"] = [int(ticket["seed"]) for ticket in facts["tickets"]]
    known["rounds"] = about["provenance"].get("rounds")
    if known["rounds"]:
        known |= {"schedule": None, "step": None}
    return {name: known[name] for name in names if known.get(name) is not None}


def recipe(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a training but its seeds."""
    given = facts["tickets"][0]["about"]["provenance"].get("recipe") or {}
    return {name: value for name, value in given.items() if name not in SEEDS}


def command(facts: Mapping[str, Any]) -> str:
    """The `tombola find` that makes the same result, where numerics are the same."""
    numerics = facts["tickets"][0]["about"]["provenance"].get("numerics") or {}
    knobs = searched(facts) | facts["task"] | recipe(facts)
    if (split := facts["result"]["split"]) != "test":
        knobs["eval_split"] = split
    knobs["drop_bad_rows"] = _has_dropped(facts["result"])
    knobs |= {name: numerics[name] for name in ("threads", "processes") if name in numerics}
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
