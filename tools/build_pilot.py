"""Makes the tables of docs/results/pilot.md from the rows next to it.

python tools/build_pilot.py
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from network_tables import NAMES, dense, estimate, networks, overlap, seen
from page_tables import filled, markdown, value_range
from tombola.base.rounding import percent, points
from tombola.study.table.grouping import by_network
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGE = RESULTS / "pilot.md"


def page(text: str) -> str:
    """The page with its tables rebuilt from the rows."""
    rows, rates = (read_rows(RESULTS / name) for name in ("pilot.csv", "pilot-rates.csv"))
    made = {name: partial(table, rows) for name, table in TABLES.items()}
    return filled(text, {**made, "rates": partial(rates_of, rates)})


def one_shot(rows: Sequence[Row]) -> str:
    """IMP minus one-shot pruning."""
    tickets, pruned = networks(rows, arm="tickets"), networks(rows, kind="one-shot", of="tickets")
    lines = []
    for task, there in pruned.items():
        for at, theirs in there.items():
            pair = Comparison.on_shared_seeds(tickets[task][at], theirs)
            each = ", ".join(points(one, signed=True, digits=1) for one in pair.differences)
            lines.append([f"`{task}`, {theirs[0].metric}", at, each, estimate(pair)])
    return markdown(["task", "sparsity", "seeds 0, 1, 2", "mean, 90 % interval"], lines)


def rates_of(rows: Sequence[Row]) -> str:
    """Score of each control on dev at each of the rates, the best in bold."""
    swept = [row for row in rows if row.arm == "swept"]
    every = sorted({row.learning_rate for row in swept})
    lines = []
    for task in dict.fromkeys(row.target for row in swept):
        [ticket] = (row for row in rows if row.kind == "imp" and on(row, task, swept[0].sparsity))
        plain = f"dense {ticket.dense:.1f}, ticket {ticket.score:.1f}"
        for kind in dict.fromkeys(row.kind for row in swept):
            scores = {
                row.learning_rate: row.score or 0.0
                for row in swept
                if row.kind == kind and on(row, task, row.sparsity)
            }
            best = max(scores, key=scores.__getitem__)
            cells = (f"**{scores[r]:.1f}**" if r == best else f"{scores[r]:.1f}" for r in every)
            lines.append([f"`{task}`; {plain}", NAMES[kind], *cells])
    return markdown(["task", "control", *(f"{rate:g}" for rate in every)], lines)


def on(row: Row, task: str, sparsity: Decimal | None) -> bool:
    """Whether a row is about this task and sparsity."""
    return (row.target, row.sparsity) == (task, sparsity)


def transfer(rows: Sequence[Row]) -> str:
    """Source x target: minus dense, and minus the target's own ticket."""
    own = networks(rows, arm="tickets")
    moved = [mine for mine in by_network(rows) if mine[0].kind == "transfer"]
    [at] = {percent(mine[0].sparsity) for mine in moved if mine[0].sparsity}
    targets = list(dict.fromkeys(mine[0].target for mine in moved))
    sources = list(dict.fromkeys(mine[0].source for mine in moved))
    place = {(mine[0].source, mine[0].target): mine for mine in moved}
    place |= {
        ("one-shot", task): there[at] for task, there in networks(rows, arm="one-shot").items()
    }
    lines = []
    for source in [*sources, "one-shot"]:
        cells = []
        for target in targets:
            mine = place[source, target]
            cells.append(estimate(Comparison(mine)))
            same = source == target
            cells.append(
                "" if same else estimate(Comparison.on_shared_seeds(mine, own[target][at]))
            )
        lines.append([f"`{source}`" if source in sources else source, *cells])
    head = [f"`{target}`, minus {what}" for target in targets for what in ("dense", "its own")]
    return markdown([f"from, at {at}", *head], lines)


def research_code(rows: Sequence[Row]) -> str:
    """Tickets found with the variant of the research code, next to plain ones."""
    plain, other = networks(rows, arm="tickets"), networks(rows, arm="research-code")
    lines = []
    for task, there in other.items():
        for at, mine in there.items():
            ours = plain[task][at]
            pairs = Comparison(ours), Comparison(mine), Comparison.on_shared_seeds(mine, ours)
            overlaps = (value_range([r.jaccard_one_shot for r in each]) for each in (ours, mine))
            lines.append([f"`{task}`", at, *map(estimate, pairs), *overlaps])
    head = ["task", "sparsity", "ticket minus dense", "with the variant minus dense"]
    return markdown(
        [*head, "with minus without", "overlap with one-shot", "with the variant"], lines
    )


TABLES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "overlap": overlap,
    "one-shot": one_shot,
    "seen": seen,
    "transfer": transfer,
    "variant": research_code,
    "dense": dense,
}


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
