"""The finders of plans side by side on each task at each sparsity."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.report.numerals import MISSING, interval, points
from tombola.report.pages.page import Cell, Number, Section, Table

__all__ = ["leaderboard_sections"]

COLUMNS = (
    *("plan", "task", "sparsity", "budget", "arm", "rank"),
    *("score", "minus dense", "minus one-shot", "trainings", "verdict"),
)
TEXTS = ("plan", "task", "arm", "verdict")


def leaderboard_sections(boards: Sequence[Mapping[str, Any]], *, several: bool) -> list[Section]:
    """A table of every place that has several finders, the best mean first, and who wins there.

    Args:
        boards: those of `row_facts`.
        several: whether they are of several plans, so that a column names each one's.
    """
    contested = [board for board in boards if len(board["entries"]) > 1]
    if not contested:
        return []
    budgets = any(board["budget"] is not None for board in contested)
    columns = [name for name in COLUMNS if {"plan": several, "budget": budgets}.get(name, True)]
    rows = [_entry(entry, board) for board in contested for entry in board["entries"]]
    table = Table(
        columns,
        [[row[name] for name in columns] for row in rows],
        caption="Rank: the best and worst that tests of all pairs leave open. Trainings: what "
        "search and training cost, in trainings of dense. Differences with 90 % intervals.",
        right=frozenset(place for place, name in enumerate(columns) if name not in TEXTS),
    )
    won = [
        f"{board['plan'] + ', ' if several else ''}{board['title']}: {board['winner']} is better "
        "than every other (paired t, Holm, 5 %)."
        for board in contested
        if board["winner"]
    ]
    text = [] if won else ["No arm is shown to be better than every other (paired t, Holm, 5 %)."]
    return [Section("Leaderboard", text=text, points=won, tables=[table])]


def _entry(entry: Mapping[str, Any], board: Mapping[str, Any]) -> dict[str, Cell]:
    """Column -> its cell."""
    best, worst = entry["ranks"]
    budget, cost = board["budget"], entry["cost"]
    return {
        "plan": board["plan"],
        "task": board["task"],
        "sparsity": percent(board["sparsity"]),
        "budget": "" if budget is None else f"{budget:g}",
        "arm": entry["title"],
        "rank": str(best) if best == worst else f"{best} to {worst}",
        "score": Number(points(entry["score"]["mean"]), entry["places"]),
        "minus dense": _against_dense(entry),
        "minus one-shot": _against_one_shot(entry["minus_one_shot"]),
        "trainings": MISSING if cost is None else f"{cost['trainings']:.3g}",
        "verdict": entry["status"],
    }


def _against_dense(entry: Mapping[str, Any]) -> Cell:
    verdict = entry["verdict"]
    if verdict is None or verdict["difference"] is None:
        return MISSING
    return Number(_estimate(verdict["difference"], verdict["interval"]), entry["places"])


def _against_one_shot(found: Mapping[str, Any] | None) -> Cell:
    if found is None or found["mean"] is None:
        return MISSING
    return Number(_estimate(found["mean"], found["interval"]), found["places"])


def _estimate(mean: float, ends: tuple[float, float] | None) -> str:
    shown = f" ({interval(ends)})" if ends else ""
    return f"{points(mean, signed=True)}{shown}"
