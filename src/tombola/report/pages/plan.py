"""The report of a plan: networks, searches, overlaps, connectivity, and the key of every run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.base.rounding import percent
from tombola.base.text import counted
from tombola.report.figures import connectivity, score_curve
from tombola.report.figures.style import svg
from tombola.report.numerals import MISSING, interval, mean_sd, points
from tombola.report.pages.page import Page, Picture, Section, Table
from tombola.report.pages.tables import (
    inputs_table,
    numerics_table,
    overlap_table,
    shown,
    verdict_interval,
)

__all__ = ["plan_page"]


def plan_page(facts: Mapping[str, Any], *, command: str) -> Page:
    """The page of a plan, finished or not; gaps are marked.

    Args:
        facts: what `plan_facts` returns.
        command: runs the plan again.
    """
    sections = [
        Section("Networks", tables=[_cells(facts["groups"])]),
        *_section("Verdicts", tables=_verdicts(facts["groups"])),
        *_section("Searches", pictures=_searches(facts["searches"])),
        *_section("Transfer", tables=_transfer(facts["transfer"])),
        *_section("Overlap of the masks", tables=_overlap(facts["overlap"])),
        *_lines(facts["lines"]),
        *_section("Texts", tables=_texts(facts["texts"])),
        Section("Recipes", tables=[_recipes(facts["tasks"])]),
        Section("Numerics", tables=[_numerics(facts["runs"])]),
        Section("Keys of every run", tables=[_runs(facts["runs"])]),
        Section("How to reproduce it", code=command),
        Section("What this does not show", points=_limits(facts)),
    ]
    gaps = facts["jobs"] - facts["done"]
    notes = [f"{gaps:,} of {counted(facts['jobs'], 'job')} are not done: dashes mark the gaps."]
    notes = [*_premises(facts["groups"]), *(notes if gaps else [])]
    return Page(
        title=f"Plan {Path(facts['name']).stem}",
        question=facts["about"],
        answers=[],
        notes=notes,
        sections=sections,
        foot=f"{facts['model']}, scope {facts['scope']}, seeds {shown(facts['seeds'])}",
    )


def _premises(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why nothing is decided on some tasks, one sentence for each reason."""
    found = dict.fromkeys(
        (group["target"], group["premise"]) for group in groups if group["premise"]
    )
    return [f"Nothing is decided on {task}: {reason}." for task, reason in found]


def _section(heading: str, **content: Any) -> list[Section]:
    """A section, if there is anything in it."""
    return [Section(heading, **content)] if any(content.values()) else []


def _task(group: Mapping[str, Any]) -> str:
    moved = group["source"] and group["source"] != group["target"]
    return f"{group['source']} → {group['target']}" if moved else group["target"]


def _cells(groups: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for group in groups:
        rows.append(
            (
                *(group["arm"], group["name"], _task(group), percent(group["sparsity"] or 0)),
                *(f"{group['done']}/{len(group['seeds'])}", _score(group)),
                "" if group["name"] == "dense" else points(group["minus_dense"], signed=True),
            )
        )
    return Table(
        ("arm", "network", "task", "sparsity", "seeds", "score", "minus dense"),
        rows,
        caption=f"Scores on the {_splits(groups)} split at the last step, in points; mean ± "
        "standard deviation over the seeds that are done.",
        right=frozenset((3, 4, 5, 6)),
    )


def _splits(groups: Sequence[Mapping[str, Any]]) -> str:
    """The split that scores come from, task by task where they differ."""
    by_task: dict[str, str] = {group["target"]: group["split"] for group in groups}
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    return ", ".join(f"{split} ({task})" for task, split in by_task.items())


def _score(group: Mapping[str, Any]) -> str:
    """Mean and standard deviation of the runs with a score, and how many runs diverged."""
    score = mean_sd(group["mean"], group["std"])
    if not group["diverged"]:
        return score
    diverged = f"{group['diverged']} diverged"
    return diverged if group["mean"] is None else f"{score}, {diverged}"


def _verdicts(groups: Sequence[Mapping[str, Any]]) -> list[Table]:
    judged = [group for group in groups if group["verdict"] or group["no_verdict"]]
    if not judged:
        return []
    about = dict.fromkeys(g["verdict"]["estimand"] for g in judged if g["verdict"])
    caption = "Ticket minus dense, in points. The tests are not corrected for their number."
    columns = ("arm", "task", "sparsity", "status", "interval", "margin", "about")
    if len(about) == 1:
        caption = f"{caption} The interval is about: {next(iter(about))}."
    rows = [_verdict(group, several=len(about) > 1) for group in judged]
    width = len(columns) - (not any(row[-1] for row in rows))
    return [Table(columns[:width], [row[:width] for row in rows], caption, frozenset((2, 4, 5)))]


def _verdict(group: Mapping[str, Any], *, several: bool) -> tuple[str, ...]:
    """A row; its last cell says why there is no verdict, or what the interval is about."""
    place = (group["arm"], _task(group), percent(group["sparsity"]))
    verdict = group["verdict"]
    if not verdict or verdict["interval"] is None:
        gaps = (MISSING, MISSING, MISSING)
        return *place, *gaps, verdict["reason"] if verdict else group["no_verdict"]
    ends = f"{verdict_interval(verdict)} ({percent(verdict['level'])})"
    status = ": ".join(filter(None, (verdict["status"], verdict["reason"])))
    about = verdict["estimand"] if several else ""
    return *place, status, ends, f"{verdict['margin']:g}", about


def _searches(searches: Sequence[Mapping[str, Any]]) -> list[Picture]:
    return [
        Picture(
            svg(score_curve.draw(search, search["finder"])),
            f"Arm {search['arm']} on {search['task']}: score against sparsity.",
        )
        for search in searches
        if any(value is not None for one in search["rounds"] for value in one["values"])
    ]


def _transfer(matrices: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Two tables for each matrix: minus dense, and minus the target's own tickets."""
    against = (("minus_dense", "dense"), ("minus_same_task", "the target's own ticket"))
    return [_matrix(matrix, field, what) for matrix in matrices for field, what in against]


def _matrix(matrix: Mapping[str, Any], field: str, what: str) -> Table:
    sources = matrix["sources"]
    targets = list(dict.fromkeys(place["target"] for row in sources for place in row["places"]))
    rows = []
    for row in sources:
        places = {place["target"]: place[field] for place in row["places"]}
        rows.append((row["source"], *(_estimate(places.get(target)) for target in targets)))
    return Table(
        ("from", *targets),
        rows,
        caption=f"Arm {matrix['arm']}, tickets at {percent(matrix['sparsity'])}: score minus "
        f"{what}, in points, with the 90 % interval over seeds. Columns are targets.",
        right=frozenset(range(1, len(targets) + 1)),
    )


def _estimate(found: Mapping[str, Any] | None) -> str:
    if found is None or found["mean"] is None:
        return "diverged" if found and found["diverged"] else MISSING
    mean = points(found["mean"], signed=True)
    ends = f" ({interval(found['interval'])})" if found["interval"] else ""
    return "; ".join(filter(None, (f"{mean}{ends}", found["reason"])))


def _overlap(found: Mapping[str, Any] | None) -> list[Table]:
    return [overlap_table(found["pairs"])] if found else []


def _lines(lines: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not lines:
        return []
    rows = [
        (
            *(line["network"], line["task"], percent(line["sparsity"] or 0), str(line["seed"])),
            points(line["score_barrier"]),
            MISSING if line["loss_barrier"] is None else f"{line['loss_barrier']:.4f}",
        )
        for line in lines
    ]
    table = Table(
        ("network", "task", "sparsity", "seed", "score barrier", "loss barrier"),
        rows,
        caption="Barrier: the worst network on the straight line between two runs that differ in "
        "their data order, ends included, compared with the mean of the two ends (Frankle et al. "
        "2020). It is at least half of the difference between the ends.",
        right=frozenset((2, 3, 4, 5)),
    )
    drawn = []
    if any(line["positions"] for line in lines):
        drawn = [Picture(svg(connectivity.draw(lines)), "Score and loss along the lines.")]
    return [Section("Connectivity", pictures=drawn, tables=[table])]


def _texts(tasks: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    table = inputs_table(
        {f"{task}, {split}": each for task, found in tasks.items() for split, each in found.items()}
    )
    return [table] if table.rows else []


def _recipes(tasks: Mapping[str, Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for recipe in tasks.values() for name in recipe)
    rows = [
        (name, *(shown(recipe[name]) for recipe in tasks.values()))
        for name in names
        if name not in ("seed", "order_seed")
    ]
    return Table(("knob", *tasks), rows)


def _numerics(runs: Sequence[Mapping[str, Any]]) -> Table:
    records = [(run["kind"], run["numerics"]) for run in runs if run["numerics"]]
    return numerics_table(list({str(r): r for r in records}.values()), "Numerics")


def _runs(runs: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            run["label"],
            run["kind"] if run["done"] else "not done",
            "diverged" if run["diverged"] else "" if run["score"] is None else points(run["score"]),
            run["key"],
        )
        for run in runs
    ]
    return Table(("run", "kind", "score", "key"), rows, right=frozenset((2,)), small=True)


def _limits(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"The results are about {facts['model']} with these recipes, and no other network.",
        "A mask alone makes a network neither smaller nor faster: the zeros are stored and "
        "multiplied.",
        "A verdict on one seed is about its test examples, and says nothing about other seeds.",
        "Among many verdicts some are wrong by chance. That every task matches can be read off the "
        "verdicts as they are; which of the tasks match needs a correction for their number.",
    ]
