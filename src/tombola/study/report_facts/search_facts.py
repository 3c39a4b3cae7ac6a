"""The facts that a report on a search shows, from the folder that `tombola find` wrote."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tombola.base.errors import OutputError, TombolaError, brief
from tombola.base.fields import field_help
from tombola.base.keys import json_value
from tombola.base.specs import FindSpec, PruneSpec
from tombola.finders.finder import FINDERS
from tombola.models.attention_heads import attention_heads, on_this_machine
from tombola.study.masks.anatomy import anatomy
from tombola.study.masks.overlap import overlap
from tombola.study.masks.overlap_report import NamedMask, compare_masks
from tombola.study.results.result_file import SearchRecord, read_object, read_search_record
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import task_names
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket

__all__ = ["search_facts", "task_flags"]

SEED = re.compile(r"[0-9]{1,19}")


def search_facts(folder: Path, one_shot: Callable[..., Ticket]) -> dict[str, Any]:
    """The facts of a search, as JSON has them.

    Args:
        folder: a folder with result.json and the tickets, and experiment.json if it is there.
        one_shot: model, sparsity, scope -> the ticket of its largest pre-trained weights.

    Returns: result, experiment, seeds of the runs, task (flags that name a user's own), finder
        (name, label, defaults and help of its knobs), tickets (about, anatomy), the one-shot
        ticket's overlap with each and why there is none if so, and the tickets' overlap with each
        other if there are several.
    Raises: OutputError, TicketError, if that is not the output of `tombola find`, or damaged.
    """
    result = read_search_record(folder / "result.json")
    place = folder / "experiment.json"
    tickets = {
        seed: Ticket.load(folder / Path(path).name) for seed, path in result["tickets"].items()
    }
    if not tickets:
        raise OutputError(
            f"expected a search that found a ticket in {str(folder)!r}, got one that did not: "
            f"{result['verdict'].get('reason') or 'it has no tickets'}. Search with another recipe."
        )
    first = next(iter(tickets.values()))
    heads = attention_heads(first.model)
    members = [NamedMask(f"seed {seed}", t.mask, {"seed": seed}) for seed, t in tickets.items()]
    found, reason = _overlap_with_one_shot(tickets, first, one_shot)
    experiment = read_object(place) if os.path.lexists(place) else None
    return {
        "folder": folder.name,
        "result": result,
        "experiment": experiment,
        "seeds": _seeds(result, experiment or {}, folder / "result.json"),
        "task": _task_flags(experiment, place) if experiment else {},
        "finder": _finder(result),
        "tickets": [
            {"seed": seed, "about": _about(ticket), "anatomy": asdict(anatomy(ticket.mask, heads))}
            for seed, ticket in tickets.items()
        ],
        "one_shot": found,
        "no_one_shot": reason,
        "overlap": compare_masks(members, heads) if len(members) > 1 else None,
    }


def _seeds(result: SearchRecord, experiment: dict[str, Any], place: Path) -> list[str]:
    """The seed of each run of a network, in their order.

    A result of an earlier version says it by its tickets, of which a seed whose dense network
    diverged has none, and by the experiment, unless they are the default.

    Raises: OutputError, if nothing says it.
    """
    runs = len(result["dense"]["values"])
    known = (
        *(result.get("seeds"), [*result["tickets"]]),
        *(experiment.get("seeds"), list(FindSpec.seeds)),
    )
    for seeds in known:
        named = [str(seed) for seed in seeds] if isinstance(seeds, list) else []
        numbers = all(SEED.fullmatch(each) for each in named)
        if len(named) == runs and numbers and set(result["tickets"]) <= set(named):
            return named
    raise OutputError(
        f"expected the seeds of {runs} runs with {str(place)!r}, got neither `seeds` nor an "
        "experiment.json that names them. Search again: that retrains nothing."
    )


def _finder(result: SearchRecord) -> dict[str, Any]:
    """Name and label of the finder, and default and help of each of its knobs; of one that is not
    installed here, the knobs that all finders have."""
    found = result.get("finder") or FINDERS[FindSpec.finder].named()
    spec = FINDERS[found["name"]].spec if found["name"] in FINDERS else PruneSpec
    return {
        **found,
        "knobs": {field.name: json_value(field.default) for field in fields(spec)},
        "help": field_help(spec),
    }


def task_flags(identity: Sequence[Any]) -> dict[str, Any]:
    """The flags of `tombola find` that name a user's own task; DIR stands for its folder.

    Args:
        identity: the identity of the task: its name and version, and its definition if it is a
            user's own.
    """
    name, _, *defined = identity
    if not defined:
        return {}
    (task,) = defined
    if name in task_names():  # with a text column of the user's own
        return {"text_columns": task["texts"]}
    if name != "csv":
        return {"task": f"{name}.yaml"}
    flags = {"task": "csv:DIR", "kind": task["kind"], "text_columns": task["texts"]}
    if task["kind"] not in TASK_KINDS or TASK_KINDS[task["kind"]].labelled:
        flags["label_column"] = task["label"]
    if task.get("labels"):
        flags["labels"] = task["labels"]
    return flags | {"metric": task["metric"]}


def _task_flags(experiment: dict[str, Any], place: Path) -> dict[str, Any]:
    """The flags of the task in an experiment.json, whatever it contains.

    Raises: OutputError, if it names no task.
    """
    try:
        flags = task_flags(experiment["task"])
    except (KeyError, TypeError, ValueError, IndexError):
        flags = {"task": None}
    values = (each for one in flags.values() for each in (one if isinstance(one, list) else [one]))
    if not all(isinstance(each, str) for each in values):
        raise OutputError(
            f"expected the task of an experiment in {str(place)!r}, got "
            f"{brief(experiment.get('task'))}. Pass a search's folder as it was written."
        )
    return flags


def _about(ticket: Ticket) -> dict[str, Any]:
    return {name: value for name, value in ticket.to_json().items() if name != "shapes"}


def _overlap_with_one_shot(
    tickets: dict[str, Ticket], first: Ticket, one_shot: Callable[..., Ticket]
) -> tuple[list[dict[str, Any]], str]:
    """The overlap of each ticket with one-shot pruning, or why it is unknown."""
    place = on_this_machine(first.model)
    if place is None:
        return [], f"{first.model!r} is not on this machine."
    try:
        other = one_shot(place, sparsity=first.sparsity, scope=first.scope)
    except TombolaError as error:
        return [], str(error)
    if other.fingerprint != first.fingerprint:
        return [], (
            f"the network {first.model} is another here ({other.fingerprint[:12]}) than the "
            f"ticket's ({first.fingerprint[:12]})."
        )
    return [_pair(seed, ticket.mask, other.mask) for seed, ticket in tickets.items()], ""


def _pair(seed: str, mask: Mask, other: Mask) -> dict[str, Any]:
    whole, each = overlap(mask, other)
    return {
        "seed": seed,
        "jaccard": whole.jaccard,
        "chance": whole.chance,
        "z": whole.z,
        "layers": {
            one.matrix: {"jaccard": one.jaccard, "chance": one.chance, "z": one.z} for one in each
        },
    }
