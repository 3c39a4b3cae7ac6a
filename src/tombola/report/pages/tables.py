"""Tables that several reports have."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tombola.base.rounding import decimals, percent
from tombola.report.numerals import MISSING, interval, with_minus
from tombola.report.pages.page import Table

__all__ = [
    "CHANCE",
    "chance_cells",
    "inputs_table",
    "numerics_table",
    "overlap_table",
    "shown",
    "verdict_interval",
]


def shown(value: Any) -> str:
    """The value of a knob."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def verdict_interval(verdict: Mapping[str, Any]) -> str:
    """A verdict's interval, with the decimals that tell its ends from zero and the margin."""
    ends = verdict["interval"]
    return interval(ends, digits=max(2, decimals(ends, verdict["margin"])))


CHANCE = (
    "Jaccard index of the pruned weights. By chance: two random masks that prune as many weights "
    "of each matrix; z counts standard deviations of the intersection."
)


def chance_cells(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """Jaccard index, that of chance, and z."""
    z = MISSING if found["z"] is None else with_minus(f"{found['z']:+z,.1f}")
    return f"{found['jaccard']:.4f}", f"{found['chance']:.4f}", z


def overlap_table(pairs: Sequence[Mapping[str, Any]]) -> Table:
    """The overlap of every pair of masks, compared with chance."""
    rows = [(pair["a"], pair["b"], *chance_cells(pair)) for pair in pairs]
    return Table(("mask", "and", "Jaccard", "by chance", "z"), rows, CHANCE, frozenset((2, 3, 4)))


def inputs_table(counted: Mapping[str, Mapping[str, Any]]) -> Table:
    """What a network reads of some splits, a row for each.

    Args:
        counted: name of a split -> its InputCounts as JSON.
    """
    rows = [
        (
            *(name, f"{one['examples']:,}", f"{one['distinct']:,}", f"{one['tokens']:,}"),
            *(percent(one[share], digits=1) for share in ("unknown", "cut", "empty")),
            f"{one['shared']:,}" if one["shared"] else MISSING,
        )
        for name, one in counted.items()
    ]
    return Table(
        ("split", "examples", "distinct", "tokens", "unknown", "cut", "empty", "also in test"),
        rows,
        caption="Texts as the tokenizer encodes them. Unknown: tokens that stand for words outside "
        "the vocabulary. Cut: examples longer than the network reads. Empty: rows without a text. "
        "Also in test: rows whose texts are in the test split as well.",
        right=frozenset(range(1, 8)),
    )


def numerics_table(records: Sequence[tuple[str, Mapping[str, Any]]], caption: str) -> Table:
    """A column for each distinct record, headed by the names of what has it."""
    distinct: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
    for name, record in records:
        distinct.setdefault(json.dumps(record, sort_keys=True), ([], record))[0].append(name)
    columns = [", ".join(names) for names, _ in distinct.values()]
    fields = dict.fromkeys(field for _, record in distinct.values() for field in record)
    rows = [
        (field, *(shown(record.get(field, MISSING)) for _, record in distinct.values()))
        for field in fields
    ]
    return Table((caption, *columns), rows)
