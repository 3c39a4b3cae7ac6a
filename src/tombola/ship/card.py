"""The card of a ticket: README.md as the hub shows it, with the hub's metadata."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from math import isfinite
from pathlib import PurePosixPath
from typing import Any

from tombola.base.rounding import interval, percent, points
from tombola.base.text import printable
from tombola.models.embedded import EMBEDDED
from tombola.ship.sources import merged_in
from tombola.ticket.ticket import Ticket

__all__ = [
    "CITATION",
    "HUB_NAME",
    "card",
    "hub_model",
    "inert",
    "is_generated",
    "short_name",
    "table",
]

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
"""The names of models and data sets that the hub knows."""

TASK_NAME = re.compile(r"[a-z0-9][a-z0-9_/-]{0,60}")

NAME_LENGTH = 200
"""Most characters of a name that are shown."""

MOST_SEEDS = 10**6
"""More seeds than any search has."""

ANYWHERE = "path/to/this/folder"
"""What the example loads, where the ticket is not on the hub."""

PLACE = re.compile(r'^ticket = tombola\.Ticket\.from_pretrained\("([\w./-]+)"\)$', re.M | re.ASCII)

USE = """\
```python
import tombola
from transformers import AutoModel

ticket = tombola.Ticket.from_pretrained("{place}")
model = AutoModel.from_pretrained({base}, dtype="float32")
ticket.apply(model)  # the pruned weights are +0.0 now

with ticket.hold(model):  # and stay so while you train
    ...
```"""

CITATION = """\
```bibtex
@inproceedings{chen2020lottery,
  title     = {The Lottery Ticket Hypothesis for Pre-trained {BERT} Networks},
  author    = {Chen, Tianlong and Frankle, Jonathan and Chang, Shiyu and Liu, Sijia and
               Zhang, Yang and Wang, Zhangyang and Carbin, Michael},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {33},
  year      = {2020}
}
```"""


def card(ticket: Ticket, repo_id: str | None = None) -> str:
    """The card of a ticket, the same text for the same ticket and repository.

    Everything that comes from the ticket is shown as `inert` text.

    Args:
        ticket: what the card is of.
        repo_id: the repository of the hub that it goes to, if any; its name has been checked.
    """
    model = inert(short_name(ticket.model))
    parts = [
        _metadata(ticket),
        f"# Lottery ticket: {model} at {percent(ticket.sparsity)} sparsity",
        _introduction(ticket),
        "## How it was found",
        table(_origin(ticket)),
        *_sources(ticket),
        *_scores(ticket),
        "## Use",
        USE.format(place=repo_id or ANYWHERE, base=_base(ticket)),
        "## Licence",
        "No licence has been chosen: set `license` at the top of this file. The licence of the "
        "pre-trained network applies to that network, whose weights are not part of the ticket.",
        "## Citation",
        "If you use tickets of pre-trained networks, cite the paper that introduced them:",
        CITATION,
    ]
    return "\n\n".join(parts) + "\n"


def is_generated(content: bytes, ticket: Ticket) -> bool:
    """Whether a README.md is the ticket's card for some repository, as `card` writes it."""
    text = content.decode("utf-8", "replace")
    found = PLACE.search(text)
    return found is not None and text == card(ticket, found[1])


def inert(value: object) -> str:
    r"""A value as a Markdown code span that is neither markup, nor a link, nor an escape sequence.

    Characters that could end the span or the cell of a table, or begin a tag or an entity, are
    shown as escapes such as \x3c, and those that a terminal obeys as `printable` shows them.
    """
    text = printable(value)
    text = text if len(text) <= NAME_LENGTH else f"{text[:NAME_LENGTH]}…"
    for character in "<>&`|":
        text = text.replace(character, f"\\x{ord(character):02x}")
    return f"`{text}`" if text.strip() else "(empty)"


# --- metadata ------------------------------------------------------------------


def _metadata(ticket: Ticket) -> str:
    """The hub's YAML; only names of the hub's own form get into it, quoted as JSON does."""
    lines = ["library_name: tombola", "license: unknown"]
    if (model := hub_model(ticket.model)) is not None:
        lines += [f"base_model: {json.dumps(model)}"]
    if (data := _hub_data(ticket)) is not None:
        lines += ["datasets:", f"- {json.dumps(data)}"]
    lines += ["tags:", "- lottery-ticket", "- pruning", "- sparsity"]
    if ticket.task is not None and TASK_NAME.fullmatch(ticket.task):
        lines += [f"- {json.dumps(f'task:{ticket.task}')}"]
    return "\n".join(["---", *lines, "---"])


def hub_model(name: str) -> str | None:
    """A network's name on the hub, if it may have one."""
    return name if name not in EMBEDDED and HUB_NAME.fullmatch(name) else None


def _hub_data(ticket: Ticket) -> str | None:
    """OWNER/NAME of the data on the hub, if that is where they were."""
    place = ticket.provenance.get("data")
    if not isinstance(place, str) or not place.startswith("hub:"):
        return None
    name = "/".join(place.removeprefix("hub:").partition("@")[0].split("/")[:2])
    return name if HUB_NAME.fullmatch(name) else None


# --- text ----------------------------------------------------------------------


def short_name(model: str) -> str:
    """A network's name; of a folder, without the way there."""
    path = PurePosixPath(model)
    return path.name if path.is_absolute() else model


def _base(ticket: Ticket) -> str:
    """What the example loads as the pre-trained network, as Python writes it."""
    if ticket.model in EMBEDDED:
        return f"tombola.model_path({json.dumps(ticket.model)})"
    return json.dumps(hub_model(ticket.model) or "path/to/the/network")


def _introduction(ticket: Ticket) -> str:
    return (
        f"A mask over {ticket.mask.size:,} weights of the pre-trained network "
        f"{inert(short_name(ticket.model))}, of which it prunes {ticket.mask.pruned:,}. It was "
        "made with tombola and holds no weights and no code."
    )


def _origin(ticket: Ticket) -> Iterator[tuple[str, str]]:
    """How the ticket was found: name and value."""
    kept = ticket.provenance
    yield "network", inert(short_name(ticket.model))
    yield "its fingerprint", inert(ticket.fingerprint)
    yield "scope", inert(ticket.scope)
    yield "sparsity", percent(ticket.sparsity)
    yield "digest of the mask", inert(ticket.mask.digest())
    facts = {
        "task": ticket.task,
        "seed": ticket.seed,
        "ranked by": ticket.scores,
        "finder": kept.get("finder"),
        "schedule": ticket.schedule,
        "step": ticket.step,
        "rounds": kept.get("rounds"),
        "imported from": kept.get("imported"),
        "made by": ticket.created_by,
    }
    yield from ((name, inert(value)) for name, value in facts.items() if value is not None)


def _sources(ticket: Ticket) -> list[str]:
    """The section about the tickets that it was merged from, if it was."""
    merged = merged_in(ticket.provenance)
    if merged is None:
        return []
    sentence = f"The rule {inert(merged.rule)} over the weights that these tickets keep:"
    heads = ("digest of the mask", "sparsity", "task", "seed", "ranked by")
    rows = ([inert(value) if value else "" for value in astuple(each)] for each in merged.sources)
    lines = [" | ".join(cells) for cells in (heads, ("---",) * len(heads), *rows)]
    return ["## Merged from", sentence, "\n".join(f"| {line} |" for line in lines)]


def _scores(ticket: Ticket) -> list[str]:
    """The section about scores, if the ticket has any."""
    kept = ticket.provenance
    dense, masked = _number(kept.get("dense")), _number(kept.get("ticket"))
    if dense is None or masked is None:
        return []
    seeds = _seeds(kept)
    ends = "" if seeds else _interval(kept)
    rows = [
        ("dense network", points(dense)),
        ("ticket", points(masked)),
        ("ticket minus dense", f"{points(masked - dense, signed=True)}{ends}"),
        *_over_seeds(kept, seeds),
    ]
    about = [f"{name} {inert(kept[name])}" for name in ("metric", "split") if name in kept]
    sentence = ", ".join([*about, "one seed, in points."])
    return ["## Scores", sentence[0].upper() + sentence[1:], table(rows)]


def _seeds(kept: Mapping[str, Any]) -> int:
    """The number of seeds that an interval is over; 0 where the ticket doesn't say."""
    seeds = kept.get("seeds")
    return seeds if isinstance(seeds, int) and 1 < seeds < MOST_SEEDS else 0


def _over_seeds(kept: Mapping[str, Any], seeds: int) -> Iterator[tuple[str, str]]:
    """The mean difference over seeds with its interval, where the provenance has both."""
    difference, ends = _number(kept.get("difference")), _interval(kept)
    if seeds and difference is not None and ends:
        yield f"the same, mean of {seeds} seeds", f"{points(difference, signed=True)}{ends}"


def _interval(kept: Mapping[str, Any]) -> str:
    """The interval of the difference, where the provenance has one."""
    ends, level = kept.get("interval"), _number(kept.get("level"))
    if not isinstance(ends, list) or len(ends) != 2:
        return ""
    low, high = map(_number, ends)
    if low is None or high is None:
        return ""
    of = f"{percent(level)} " if level is not None and 0 < level < 1 else ""
    return f" ({of}interval {interval((low, high))})"


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def table(rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table of names and values that are inert already."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
