"""What the report of a search says of its masks: anatomy, one-shot pruning, agreement of seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base import rounding
from tombola.report.figures import heatmap as heat
from tombola.report.figures.style import svg
from tombola.report.pages.page import Picture, Section, Table
from tombola.report.pages.tables import CHANCE, beside_chance, dead_heads, overlap_table

__all__ = ["anatomy_section", "one_shot_section", "seeds_section"]


def anatomy_section(tickets: Sequence[Mapping[str, Any]]) -> Section:
    """Heat maps of the first ticket, and what died whole in each."""
    first = tickets[0]
    drawn = [
        Picture(
            svg(heat.draw(grid, title=f"Sparsity of {grid['blocks']}, {_called(first)}")),
            "Dead weights of each matrix; the last row and column are of all together.",
        )
        for grid in first["anatomy"]["grids"]
    ]
    rows = [_fallen(ticket) for ticket in tickets]
    table = Table(
        ("ticket", "dead rows", "dead columns", "dead heads", "dead neurons"),
        rows,
        caption="What died whole: rows, columns, attention heads and intermediate neurons of which "
        "no weight lives.",
        right=frozenset((1, 2, 3, 4)),
    )
    where = [
        (each["matrix"], *(f"{each[what]:,}" for what in (*_LINES, "rows", "columns")))
        for each in first["anatomy"]["fallen"]
    ]
    columns = ("matrix", "dead rows", "dead columns", "rows", "columns")
    named = Table(columns, where, f"Where, {_called(first)}.", frozenset((1, 2, 3, 4)))
    notes = dict.fromkeys(t["anatomy"]["note"] for t in tickets if t["anatomy"]["note"])
    text = [f"Heads and neurons aren't told: {note}" for note in notes]
    return Section(
        "Anatomy of the ticket", text=text, pictures=drawn, tables=[table, named][: 1 + bool(where)]
    )


def _called(ticket: Mapping[str, Any]) -> str:
    return f"seed {ticket['seed']}"


def _fallen(ticket: Mapping[str, Any]) -> tuple[str, ...]:
    inside = ticket["anatomy"]
    lines = [f"{sum(each[what] for each in inside['fallen']):,}" for what in _LINES]
    if inside["note"]:
        return _called(ticket), *lines, "–", "–"
    heads = dead_heads(inside)
    named = f": {', '.join(heads)}" if heads else ""
    return (
        _called(ticket),
        *lines,
        f"{len(heads)} of {len(inside['heads'])}{named}",
        f"{inside['dead_neurons']:,} of {inside['neurons']:,}",
    )


_LINES = ("dead_rows", "dead_columns")


def one_shot_section(facts: Mapping[str, Any]) -> Section:
    """The overlap with one-shot pruning, beside chance and for each matrix."""
    heading = "Is it more than one-shot pruning?"
    if not facts["one_shot"]:
        return Section(
            heading,
            text=[
                "The overlap of each round stands in the table above. Beside chance it isn't told, "
                f"because the network is not at hand: {facts['no_one_shot']}"
            ],
        )
    rows = [(f"seed {one['seed']}", *beside_chance(one)) for one in facts["one_shot"]]
    table = Table(
        ("ticket", "Jaccard", "by chance", "z"),
        rows,
        caption=CHANCE,
        right=frozenset((1, 2, 3)),
    )
    one, grids = facts["one_shot"][0], facts["tickets"][0]["anatomy"]["grids"]
    drawn = [
        Picture(
            svg(
                heat.draw(
                    grid,
                    title=f"Jaccard index with one-shot, {grid['blocks']}, seed {one['seed']}",
                    form=".3f",
                    values=_jaccards(grid, one["layers"]),
                )
            ),
            "1 means that in this matrix IMP killed exactly what sorting by magnitude would.",
        )
        for grid in grids
    ]
    text = [
        "One-shot pruning kills the smallest pre-trained weights, without any training. Where its "
        "dead weights are nearly the ticket's, the trainings of the search have bought little."
    ]
    return Section(heading, text=text, pictures=drawn, tables=[table])


def _jaccards(grid: Mapping[str, Any], layers: Mapping[str, Any]) -> list[list[float | None]]:
    """[layer][type] -> Jaccard index of that matrix."""

    def of(layer: int, kind: str) -> float | None:
        names = [f"{grid['blocks']}.{layer}.{kind}", kind]
        found = (layers.get(f"{name}{end}") for name in names for end in (".weight", ""))
        return next((each["jaccard"] for each in found if each), None)

    return [[of(layer, kind) for kind in grid["types"]] for layer in grid["layers"]]


def seeds_section(found: Mapping[str, Any]) -> Section:
    """How much the tickets of several seeds agree."""
    agreed, total = found["agreement"], sum(found["agreement"]["weights"])
    counts = [
        (str(k), *(rounding.percent(part / total, digits=2) for part in (weights, chance)))
        for k, (weights, chance) in enumerate(
            zip(agreed["weights"], agreed["expected"], strict=True)
        )
    ]
    return Section(
        "Do the seeds agree?",
        tables=[
            overlap_table(found["pairs"]),
            Table(
                ("dead in so many tickets", "of all weights", "by chance"),
                counts,
                right=frozenset((0, 1, 2)),
            ),
        ],
    )
