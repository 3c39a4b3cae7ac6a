"""Numbers as text, and the tables that several reports have."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tombola.report.pages.page import Table

__all__ = [
    "CHANCE",
    "beside_chance",
    "dead_heads",
    "inputs_table",
    "numerics_table",
    "overlap_table",
    "percent",
    "points",
    "shown",
]

MINUS = "\N{MINUS SIGN}"


def percent(fraction: str | float | None) -> str:
    """A fraction in percent; nothing for None."""
    return "" if fraction is None else f"{100 * float(fraction):.5g} %"


def points(value: float | None, *, sign: bool = False) -> str:
    """Points of a metric with two decimals and a real minus; a dash for None."""
    if value is None:
        return "–"
    return (f"{value:+z.2f}" if sign else f"{value:.2f}").replace("-", MINUS)


def shown(value: Any) -> str:
    """The value of a knob."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


CHANCE = (
    "Jaccard index of the dead weights. By chance: two random masks with as many dead in each "
    "matrix; z counts standard deviations of the intersection."
)


def beside_chance(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """Jaccard index, that of chance, and z."""
    z = "–" if found["z"] is None else f"{found['z']:+z,.1f}".replace("-", MINUS)
    return f"{found['jaccard']:.4f}", f"{found['chance']:.4f}", z


def dead_heads(anatomy: Mapping[str, Any]) -> list[str]:
    """Names of the attention heads that a mask prunes entirely, such as encoder.layer.0.2."""
    heads = (head for head in anatomy["heads"] if head["sparsity"] == 1)
    return [f"{head['block']}.{head['number']}" for head in heads]


def overlap_table(pairs: Sequence[Mapping[str, Any]]) -> Table:
    """Every pair of masks beside chance."""
    rows = [(pair["a"], pair["b"], *beside_chance(pair)) for pair in pairs]
    return Table(("mask", "and", "Jaccard", "by chance", "z"), rows, CHANCE, frozenset((2, 3, 4)))


def inputs_table(counted: Mapping[str, Mapping[str, Any]]) -> Table:
    """What a network reads of some splits, a row each.

    Args:
        counted: name of a split -> what `task.counts.InputCounts` has.
    """
    rows = [
        (
            *(name, f"{one['examples']:,}", f"{one['distinct']:,}", f"{one['tokens']:,}"),
            *(f"{100 * one[share]:.1f} %" for share in ("unknown", "cut", "empty")),
            f"{one['shared']:,}" if one["shared"] else "–",
        )
        for name, one in counted.items()
    ]
    return Table(
        ("split", "examples", "different", "tokens", "unknown", "cut", "empty", "in test, too"),
        rows,
        caption="As the tokenizer encodes them. Unknown: share of the tokens that stand for what "
        "the vocabulary lacks. Cut: examples whose text goes on behind their last token. Empty: "
        "rows without a text. In test, too: rows of the training split whose texts stand there.",
        right=frozenset(range(1, 8)),
    )


def numerics_table(records: Sequence[tuple[str, Mapping[str, Any]]], caption: str) -> Table:
    """One column for each different record, headed by what has it."""
    different: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
    for name, record in records:
        different.setdefault(json.dumps(record, sort_keys=True), ([], record))[0].append(name)
    columns = [", ".join(names) for names, _ in different.values()]
    fields = dict.fromkeys(field for _, record in different.values() for field in record)
    rows = [
        (field, *(shown(record.get(field, "–")) for _, record in different.values()))
        for field in fields
    ]
    return Table((caption, *columns), rows)
