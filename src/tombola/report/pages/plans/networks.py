"""The tables of a plan's networks: scores, and verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.base.text import task_text
from tombola.report.numerals import MISSING, mean_sd, points
from tombola.report.pages.page import Cell, Number, Table
from tombola.report.pages.tables import verdict_interval

__all__ = ["scores_table", "verdict_tables"]

Group = Mapping[str, Any]
"""A network of `row_facts`."""


def scores_table(groups: Sequence[Group], *, several: bool) -> Table:
    """The score of each network.

    Args:
        groups: the networks.
        several: whether they are of several plans, so that a column names each one's.
    """
    columns = ("arm", "network", "task", "sparsity", "seeds", "score", "minus dense")
    return Table(
        ("plan", *columns)[not several :],
        [(group["plan"], *_scores(group))[not several :] for group in groups],
        caption=f"Scores on the {_splits(groups)} split at the last step, in points; mean ± "
        "standard deviation over the seeds that are done.",
        right=frozenset(range(3 + several, 7 + several)),
    )


def _scores(group: Group) -> tuple[Cell, ...]:
    change = ""
    if group["name"] != "dense":
        change = points(group["minus_dense"], signed=True)
    both = [*group["runs"], *group["dense_runs"]]
    return (
        *(group["arm"], group["name"], _task(group), percent(group["sparsity"] or 0)),
        Number(f"{group['done']}/{len(group['seeds'])}", group["runs"]),
        Number(_score(group), group["runs"]),
        Number(change, both) if change else "",
    )


def _task(group: Group) -> str:
    return task_text(group["source"], group["target"])


def _splits(groups: Sequence[Group]) -> str:
    """The split that scores come from, task by task where they differ."""
    by_task: dict[str, str] = {group["target"]: group["split"] for group in groups}
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    return ", ".join(f"{split} ({task})" for task, split in by_task.items())


def _score(group: Group) -> str:
    """Mean and standard deviation of the runs with a score, and how many runs diverged."""
    score = mean_sd(group["mean"], group["std"])
    if not group["diverged"]:
        return score
    diverged = f"{group['diverged']} diverged"
    return diverged if group["mean"] is None else f"{score}, {diverged}"


def verdict_tables(groups: Sequence[Group], *, several: bool) -> list[Table]:
    """The verdict on each ticket, in one table, or none.

    Args:
        groups: the groups, as for `scores_table`.
        several: whether there are several plans, as for `scores_table`.
    """
    judged = [group for group in groups if group["verdict"] or group["no_verdict"]]
    if not judged:
        return []
    about = dict.fromkeys(g["verdict"]["estimand"] for g in judged if g["verdict"])
    caption = "Ticket minus dense, in points. The tests are not corrected for their number."
    if len(about) == 1:
        caption = f"{caption} The interval is about: {next(iter(about))}."
    rows = [(each["plan"], *_verdict(each, several=len(about) > 1)) for each in judged]
    columns = ("plan", "arm", "task", "sparsity", "status", "interval", "margin", "about")
    shown = slice(not several, len(columns) - (not any(row[-1] for row in rows)))
    right = frozenset((2 + several, 4 + several, 5 + several))
    return [Table(columns[shown], [row[shown] for row in rows], caption, right)]


def _verdict(group: Group, *, several: bool) -> tuple[Cell, ...]:
    """A row; its last cell says why there is no verdict, or what the interval is about."""
    place = (group["arm"], _task(group), percent(group["sparsity"]))
    verdict = group["verdict"]
    if not verdict or verdict["interval"] is None:
        gaps = (MISSING, MISSING, MISSING)
        return *place, *gaps, verdict["reason"] if verdict else group["no_verdict"]
    ends = f"{verdict_interval(verdict)} ({percent(verdict['level'])})"
    status = ": ".join(filter(None, (verdict["status"], verdict["reason"])))
    runs = [*group["runs"], *group["dense_runs"]]
    about = verdict["estimand"] if several else ""
    return *place, status, Number(ends, runs), f"{verdict['margin']:g}", about
