"""Tables of a results page about the networks of one plan: verdicts, masks, the spread of dense."""

from collections.abc import Sequence

from page_tables import markdown, value_range
from tombola.base.rounding import interval, percent, points
from tombola.study.table.grouping import by_network
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.dense_spread import dense_spreads
from tombola.study.verdicts.matching import NetworkVerdict, matching
from tombola.study.verdicts.transfer import MeanDifference

__all__ = ["NAMES", "dense", "estimate", "networks", "overlap", "seen"]

NAMES = {
    "imp": "ticket",
    "one-shot": "one-shot",
    "random": "random mask",
    "reinit": "fresh weights",
    "shuffle": "shuffled weights",
}
"""Kind of a network -> what pages call it."""


def networks(rows: Sequence[Row], **wanted: object) -> dict[str, dict[str, tuple[Row, ...]]]:
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


def verdict(judged: NetworkVerdict) -> str:
    """The difference, and the verdict on it."""
    status = f", {judged.verdict.status}" if judged.verdict else ""
    return f"{estimate(judged.pair)}{status}"


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


def overlap(rows: Sequence[Row]) -> str:
    """Jaccard index of the weights that IMP and one-shot pruning prune."""
    tickets = networks(rows, kind="imp", variant=())
    every = sorted({percent(r.sparsity) for r in rows if r.sparsity and r.jaccard_one_shot})
    lines = []
    for task, there in tickets.items():
        rates = [row.summed_learning_rate for row in next(iter(there.values()))]
        cells = (value_range([r.jaccard_one_shot for r in there.get(at, ())]) for at in every)
        lines.append([f"`{task}`", value_range(rates), *cells])
    return markdown(["task", "summed rate", *every], lines)


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
