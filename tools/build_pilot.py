"""Makes the tables of docs/results/pilot.md from the rows next to it.

python tools/build_pilot.py
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from page_tables import filled, markdown, value_range
from tombola.base.rounding import interval, percent, points
from tombola.study.table.grouping import by_network
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.dense_spread import dense_spreads
from tombola.study.verdicts.matching import NetworkVerdict, matching
from tombola.study.verdicts.transfer import MeanDifference

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGE = RESULTS / "pilot.md"
NAMES = {
    "imp": "ticket",
    "one-shot": "one-shot",
    "random": "random mask",
    "reinit": "fresh weights",
}


def page(text: str) -> str:
    """The page with its tables rebuilt from the rows."""
    rows, rates = (read_rows(RESULTS / name) for name in ("pilot.csv", "pilot-rates.csv"))
    made = {name: partial(table, rows) for name, table in TABLES.items()}
    return filled(text, {**made, "rates": partial(rates_of, rates)})


def found(rows: Sequence[Row], **wanted: object) -> dict[str, dict[str, tuple[Row, ...]]]:
    """Task -> sparsity in percent -> the rows of all seeds that have some values."""
    chosen: dict[str, dict[str, tuple[Row, ...]]] = {}
    for mine in by_network(rows):
        first = mine[0]
        if first.sparsity and all(getattr(first, name) == value for name, value in wanted.items()):
            chosen.setdefault(first.target, {})[percent(first.sparsity)] = mine
    return chosen


def estimate(pair: Comparison) -> str:
    """Mean and 90 % interval of a difference, in points."""
    found = MeanDifference.of(pair)
    if found.mean is None:
        return "not run"
    ends = f" ({interval(found.interval, digits=1)})" if found.interval else ""
    seeds = f", seeds {', '.join(map(str, pair.seeds))}" if found.gaps else ""
    return f"{points(found.mean, signed=True, digits=1)}{ends}{seeds}"


def overlap(rows: Sequence[Row]) -> str:
    """Jaccard index of the weights that IMP and one-shot pruning prune."""
    tickets = found(rows, kind="imp", variant=())
    every = sorted({percent(r.sparsity) for r in rows if r.sparsity and r.jaccard_one_shot})
    lines = []
    for task, there in tickets.items():
        rates = [row.summed_learning_rate for row in next(iter(there.values()))]
        cells = (value_range([r.jaccard_one_shot for r in there.get(at, ())]) for at in every)
        lines.append([f"`{task}`", value_range(rates), *cells])
    return markdown(["task", "summed rate", *every], lines)


def one_shot(rows: Sequence[Row]) -> str:
    """IMP minus one-shot pruning."""
    tickets, pruned = found(rows, arm="tickets"), found(rows, kind="one-shot", of="tickets")
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


def seen(rows: Sequence[Row]) -> str:
    """Every network of a task, minus dense, with its verdict."""
    judged: dict[tuple[str, str], dict[str, NetworkVerdict]] = {}
    for each in matching(rows).judged:
        if each.row.kind in NAMES and not each.row.variant and each.row.arm != "one-shot":
            mine = judged.setdefault((each.row.target, each.row.kind), {})
            mine[percent(each.pair.sparsity)] = each
    every = sorted({at for there in judged.values() for at in there})
    tasks = list(dict.fromkeys(row.target for row in rows))
    lines = []
    for (task, kind), there in sorted(
        judged.items(), key=lambda item: (tasks.index(item[0][0]), list(NAMES).index(item[0][1]))
    ):
        cells = (verdict(there[at]) if at in there else "" for at in every)
        lines.append([f"`{task}`, {next(iter(there.values())).row.metric}", NAMES[kind], *cells])
    return markdown(["task", "minus dense", *every], lines)


def verdict(judged: NetworkVerdict) -> str:
    """The difference, and the verdict on it."""
    status = f", {judged.verdict.status}" if judged.verdict else ""
    return f"{estimate(judged.pair)}{status}"


def transfer(rows: Sequence[Row]) -> str:
    """Source x target: minus dense, and minus the target's own ticket."""
    own = found(rows, arm="tickets")
    moved = [mine for mine in by_network(rows) if mine[0].kind == "transfer"]
    [at] = {percent(mine[0].sparsity) for mine in moved if mine[0].sparsity}
    targets = list(dict.fromkeys(mine[0].target for mine in moved))
    sources = list(dict.fromkeys(mine[0].source for mine in moved))
    place = {(mine[0].source, mine[0].target): mine for mine in moved}
    place |= {("one-shot", task): there[at] for task, there in found(rows, arm="one-shot").items()}
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
    plain, other = found(rows, arm="tickets"), found(rows, arm="research-code")
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


def dense(rows: Sequence[Row]) -> str:
    """The spread of each task's dense runs, and the seeds that a verdict needs because of it."""
    lines = []
    for each in dense_spreads(rows):
        scores = {
            r.dense_key: r.dense for r in rows if r.target == each.task and r.dense is not None
        }
        lines.append(
            [
                f"`{each.task}`",
                str(each.runs),
                f"{each.mean:.1f}",
                "" if each.sd is None else f"{each.sd:.2f}",
                ", ".join(f"{score:.1f}" for score in sorted(scores.values())),
                "" if each.margin is None else f"{each.margin:g}",
                str(each.seeds_needed or ""),
            ]
        )
    head = ["task", "runs", "mean", "sd", "each", "margin", "seeds needed"]
    return markdown(head, lines)


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
