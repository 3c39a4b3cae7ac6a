"""The report of a plan: cells, searches, overlaps, lines, and the key of every run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.report.figures import connectivity
from tombola.report.figures import score_curve as picture
from tombola.report.figures.style import svg
from tombola.report.pages.page import Page, Picture, Section, Table
from tombola.report.pages.tables import (
    inputs_table,
    numerics_table,
    overlap_table,
    percent,
    points,
    shown,
)

__all__ = ["plan_page"]


def plan_page(facts: Mapping[str, Any], *, command: str) -> Page:
    """The page of a plan, finished or not; gaps are marked.

    Args:
        facts: what `plan_facts` gives.
        command: does the plan again.
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
        Section("How to do it again", code=command),
        Section("What this does not show", points=_limits(facts)),
    ]
    gaps = facts["jobs"] - facts["done"]
    notes = [f"{gaps:,} of {facts['jobs']:,} jobs are not done: their places have a dash."]
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
    """Why nothing is decided on a task, once for each."""
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
        spread = "" if group["std"] is None else f" ± {group['std']:.2f}"
        rows.append(
            (
                *(group["arm"], group["name"], _task(group), percent(group["sparsity"]) or "0 %"),
                *(f"{group['done']}/{len(group['seeds'])}", f"{_mean(group)}{spread}"),
                "" if group["name"] == "dense" else points(group["minus_dense"], sign=True),
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
    """That the scores come from, of every task where they have different ones."""
    by_task: dict[str, str] = {group["target"]: group["split"] for group in groups}
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    return ", ".join(f"{split} ({task})" for task, split in by_task.items())


def _mean(group: Mapping[str, Any]) -> str:
    """The mean of what has a score, and how many runs have diverged."""
    if not group["diverged"]:
        return points(group["mean"])
    told = f"{group['diverged']} diverged"
    return told if group["mean"] is None else f"{points(group['mean'])}, {told}"


def _verdicts(groups: Sequence[Mapping[str, Any]]) -> list[Table]:
    judged = [group for group in groups if group["verdict"] or group["no_verdict"]]
    if not judged:
        return []
    about = dict.fromkeys(g["verdict"]["estimand"] for g in judged if g["verdict"])
    caption = "Ticket minus dense, in points. Each test is at full level, none is corrected."
    columns = ("arm", "task", "sparsity", "status", "interval", "margin", "about")
    if len(about) == 1:
        caption = f"{caption} The interval is about: {next(iter(about))}."
    rows = [_verdict(group, several=len(about) > 1) for group in judged]
    width = len(columns) - (not any(row[-1] for row in rows))
    return [Table(columns[:width], [row[:width] for row in rows], caption, frozenset((2, 4, 5)))]


def _verdict(group: Mapping[str, Any], *, several: bool) -> tuple[str, ...]:
    """A row; its last cell says why there is no verdict, or of which of several kinds it is."""
    place = (group["arm"], _task(group), percent(group["sparsity"]))
    said = group["verdict"]
    if not said or said["interval"] is None:
        return *place, "–", "–", "–", said["reason"] if said else group["no_verdict"]
    interval = " to ".join(points(end, sign=True) for end in said["interval"])
    level = f" ({100 * said['level']:g} %)"
    about = said["estimand"] if several else ""
    status = f"{said['status']}: {said['reason']}" if said["reason"] else said["status"]
    return *place, status, f"{interval}{level}", f"{said['margin']:g}", about


def _searches(searches: Sequence[Mapping[str, Any]]) -> list[Picture]:
    return [
        Picture(
            svg(picture.draw(search)),
            f"Arm {search['arm']} on {search['task']}: score against sparsity.",
        )
        for search in searches
        if any(value is not None for one in search["rounds"] for value in one["values"])
    ]


def _transfer(matrices: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Two tables for each matrix of sources and targets: minus dense, and minus own tickets."""
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
        return "diverged" if found and found["diverged"] else "–"
    mean = points(found["mean"], sign=True)
    told = f"; {found['reason']}" if found["reason"] else ""
    if found["interval"] is None:
        return f"{mean}{told}"
    return f"{mean} ({' to '.join(points(end, sign=True) for end in found['interval'])}){told}"


def _overlap(found: Mapping[str, Any] | None) -> list[Table]:
    return [overlap_table(found["pairs"])] if found else []


def _lines(lines: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not lines:
        return []
    rows = [
        (
            *(line["network"], line["task"], percent(line["sparsity"]) or "0 %", str(line["seed"])),
            points(line["score_barrier"]),
            "–" if line["loss_barrier"] is None else f"{line['loss_barrier']:.4f}",
        )
        for line in lines
    ]
    table = Table(
        ("network", "task", "sparsity", "seed", "score barrier", "loss barrier"),
        rows,
        caption="The worst network on the straight line between two runs that differ in their "
        "data order, ends included, against the mean of the two (Frankle et al. 2020). It is "
        "half of the difference of the ends, at least.",
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
        (name, *(str(recipe[name]) for recipe in tasks.values()))
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
        f"It is about {facts['model']} with these recipes, and no other network.",
        "A mask makes nothing smaller or faster by itself: the zeros are stored and multiplied.",
        "Verdicts of one seed are about test examples, and say nothing about other seeds.",
        "Among many verdicts some are wrong by chance; whether every task matches is each of them "
        "at full level, which tasks do takes a correction.",
    ]
