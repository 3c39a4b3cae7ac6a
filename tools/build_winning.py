"""Makes the tables and the picture of docs/results/winning.md from the rows next to it.

python tools/build_winning.py
"""

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from network_tables import NAMES, dense, estimate, networks, overlap, seen
from page_tables import filled, markdown, save_picture
from tombola.base.rounding import interval, mean_sd, percent, points
from tombola.study.claims.claim import PartResult
from tombola.study.claims.claims import decide_claims
from tombola.study.table.grouping import NetworkRows, by_network
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "evidence"))

from build_pictures import table2_picture  # noqa: E402

RESULTS = ROOT / "docs" / "results"
PAGE, ROWS = RESULTS / "winning.md", RESULTS / "winning.csv"
WATTS = 10
"""Of one busy core with its share of the machine: an assumption, not a measurement."""


def page(text: str, rows: Sequence[Row]) -> str:
    """The page with its tables rebuilt from the rows."""
    return filled(text, {name: partial(table, rows) for name, table in TABLES.items()})


def scores(rows: Sequence[Row]) -> str:
    """Mean and standard deviation of every network over its seeds, in points."""
    tasks = list(dict.fromkeys(row.target for row in rows))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for mine in by_network(rows):
        first = mine[0]
        name = NAMES.get(first.kind, first.kind), percent(first.sparsity or 0)
        found.setdefault(name, {})[first.target] = spread(mine)
    lines = [[*name, *(there[task] for task in tasks)] for name, there in found.items()]
    return markdown(["network", "pruned", *(f"`{task}`" for task in tasks)], lines)


def spread(mine: NetworkRows) -> str:
    """Mean and standard deviation of a network's scores."""
    every = [row.score for row in mine if row.score is not None]
    if not every:
        return "not run"
    sd = statistics.stdev(every) if len(every) > 1 else None
    return mean_sd(statistics.fmean(every), sd, digits=1)


def minus_controls(rows: Sequence[Row]) -> str:
    """The ticket minus each control at the same sparsity, by task."""
    tickets = networks(rows, kind="imp")
    every = {kind: networks(rows, kind=kind) for kind in NAMES if kind != "imp"}
    lines = [
        [NAMES[kind], *(_minus(tickets[task], there.get(task, {})) for task in tickets)]
        for kind, there in every.items()
    ]
    return markdown(["ticket minus", *(f"`{task}`" for task in tickets)], lines)


def _minus(tickets: Mapping[str, NetworkRows], controls: Mapping[str, NetworkRows]) -> str:
    gaps = (Comparison.on_shared_seeds(tickets[at], mine) for at, mine in controls.items())
    return "; ".join(map(estimate, gaps))


def claims(rows: Sequence[Row]) -> str:
    """The claims that the plan has runs for, part by part."""
    lines = [
        [str(claim.id), f"**{part.status}**", part.says, *_decides(part)]
        for claim in decide_claims(rows)
        for part in claim.parts
        if part.runs
    ]
    return markdown(["claim", "", "part", "the comparison that decides", "difference"], lines)


def _decides(part: PartResult) -> Iterator[str]:
    yield part.about
    if part.effect is None or part.interval is None:
        yield "not run"
    else:
        ends = interval(part.interval, digits=1)
        yield f"{points(part.effect, signed=True, digits=1)} ({ends})"


def cost(rows: Sequence[Row]) -> str:
    """What the trainings took, each once."""
    done = {row.key: row for row in rows if row.state == "done"}.values()
    hours = sum(row.seconds or 0 for row in done) / 3600
    tokens = sum(row.forward_tokens or 0 for row in done) / 1e6
    line = (
        f"{len(done)}",
        f"{sum(row.steps or 0 for row in done):,}",
        f"{tokens:.0f} million",
        f"{hours:.1f}",
        f"{hours * WATTS:.0f}",
    )
    head = ("trainings", "steps", "tokens", "core hours", f"watt-hours, at {WATTS} W a core")
    return markdown(head, [line])


TABLES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "scores": scores,
    "seen": seen,
    "minus controls": minus_controls,
    "claims": claims,
    "overlap": overlap,
    "dense": dense,
    "cost": cost,
}


if __name__ == "__main__":
    every = read_rows(ROWS)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), every), encoding="utf-8")
    save_picture(table2_picture(every), RESULTS, "winning")
