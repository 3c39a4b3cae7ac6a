"""The masks of a search: their anatomy, overlap with one-shot pruning, agreement of seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.report.figures import heatmap as heat
from tombola.report.figures.style import svg
from tombola.report.numerals import MISSING
from tombola.report.pages.page import Picture, Section, Table
from tombola.report.pages.tables import CHANCE, chance_cells, overlap_table

__all__ = ["anatomy_section", "one_shot_section", "seeds_section"]


def anatomy_section(tickets: Sequence[Mapping[str, Any]]) -> Section:
    """Heat maps of the first ticket, and what each ticket prunes entirely."""
    first = tickets[0]
    drawn = [
        Picture(
            svg(heat.draw(grid, title=f"Sparsity of {grid['blocks']}, {_name(first)}")),
            "Share of each matrix that is pruned. Last row: all matrices of a layer; last column: "
            "all layers.",
        )
        for grid in first["anatomy"]["grids"]
    ]
    entirely = Table(
        ("ticket", "rows", "columns", "heads", "neurons"),
        [_pruned_entirely(ticket) for ticket in tickets],
        caption="Pruned entirely: rows, columns, attention heads and intermediate neurons that "
        "keep no weight.",
        right=frozenset((1, 2, 3, 4)),
    )
    where = Table(
        ("matrix", "rows", "columns"),
        [_pruned_lines(each) for each in first["anatomy"]["fully_pruned"]],
        caption=f"Rows and columns that {_name(first)} prunes entirely, by matrix.",
        right=frozenset((1, 2)),
    )
    notes = dict.fromkeys(t["anatomy"]["note"] for t in tickets if t["anatomy"]["note"])
    return Section(
        "Anatomy of the ticket",
        text=[f"Heads and neurons are unknown: {note}" for note in notes],
        pictures=drawn,
        tables=[entirely, where] if where.rows else [entirely],
    )


def _name(ticket: Mapping[str, Any]) -> str:
    return f"seed {ticket['seed']}"


def _pruned_lines(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Rows and columns of one matrix that are pruned entirely."""
    counts = (f"{found[f'pruned_{what}']:,} of {found[what]:,}" for what in ("rows", "columns"))
    return found["matrix"], *counts


def _pruned_entirely(ticket: Mapping[str, Any]) -> tuple[str, ...]:
    """Rows, columns, heads and neurons of a ticket that are pruned entirely."""
    inside = ticket["anatomy"]
    lines = [
        f"{sum(each[what] for each in inside['fully_pruned']):,}"
        for what in ("pruned_rows", "pruned_columns")
    ]
    if inside["note"]:
        return _name(ticket), *lines, MISSING, MISSING
    heads = inside["pruned_heads"]
    named = f": {', '.join(heads)}" if heads else ""
    return (
        _name(ticket),
        *lines,
        f"{len(heads)} of {len(inside['heads'])}{named}",
        f"{inside['pruned_neurons']:,} of {inside['neurons']:,}",
    )


def one_shot_section(facts: Mapping[str, Any]) -> Section:
    """The overlap with one-shot pruning, compared with chance and for each matrix."""
    heading = "Is it more than one-shot pruning?"
    if not facts["one_shot"]:
        return Section(
            heading,
            text=[
                "The overlap of each round is in the table above. It is not compared with chance, "
                f"because the network is not available: {facts['no_one_shot']}"
            ],
        )
    rows = [(f"seed {one['seed']}", *chance_cells(one)) for one in facts["one_shot"]]
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
                    values=_jaccards(grid, one["layers"]),
                    shown="{:.3f}".format,
                )
            ),
            "1: in this matrix the search prunes exactly the weights that one-shot pruning does.",
        )
        for grid in grids
    ]
    text = [
        "One-shot pruning removes the smallest pre-trained weights, without any training. Where it "
        "prunes nearly the same weights as the search, their scores can still be far apart."
    ]
    return Section(heading, text=text, pictures=drawn, tables=[table])


def _jaccards(grid: Mapping[str, Any], layers: Mapping[str, Any]) -> list[list[float | None]]:
    """The Jaccard index of each matrix: [layer][type]."""

    def of(layer: int, kind: str) -> float | None:
        names = [f"{grid['blocks']}.{layer}.{kind}", kind]
        found = (layers.get(f"{name}{end}") for name in names for end in (".weight", ""))
        return next((each["jaccard"] for each in found if each), None)

    return [[of(layer, kind) for kind in grid["types"]] for layer in grid["layers"]]


def seeds_section(found: Mapping[str, Any]) -> Section:
    """The agreement of the tickets of several seeds."""
    agreed, total = found["agreement"], sum(found["agreement"]["weights"])
    counts = [
        (str(k), percent(weights / total, digits=2), percent(chance / total, digits=2))
        for k, (weights, chance) in enumerate(
            zip(agreed["weights"], agreed["expected"], strict=True)
        )
    ]
    return Section(
        "Do the seeds agree?",
        tables=[
            overlap_table(found["pairs"]),
            Table(
                ("tickets", "weights", "by chance"),
                counts,
                caption="Share of the weights that this many tickets prune, and by chance.",
                right=frozenset((0, 1, 2)),
            ),
        ],
    )
