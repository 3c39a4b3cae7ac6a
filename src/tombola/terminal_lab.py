"""What a person sees of a plan and of a store."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tombola.lab.engine import Report
from tombola.lab.estimate import Estimate, remaining
from tombola.lab.plan import Plan
from tombola.lab.store import Store
from tombola.screen import styled
from tombola.study.table import groups, rows
from tombola.terminal import percent, score

__all__ = ["show_cells", "show_estimate", "show_listing", "show_report", "show_status"]


def show_estimate(found: Estimate, console: Console) -> None:
    """What a plan consists of and what it will take."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    lines = {
        "jobs": kinds,
        "stored": f"{found.stored:,}",
        "shared": f"{found.shared:,} jobs stand for more than one cell, and are done once",
        "time": f"about {_duration(found.seconds)}",
        "disk": f"{found.disk / 1e6:,.0f} MB stay, {found.weights / 1e6:,.0f} MB come and go",
    }
    for name, text in lines.items():
        console.print(f"{name:9}{text}", soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def show_cells(plan: Plan, store: Store, console: Console) -> None:
    """Scores of every cell, seeds together, arm by arm."""
    table = Table(box=box.HORIZONTALS, pad_edge=False)
    for column in ("arm", "network", "task"):
        table.add_column(column)
    for column in ("sparsity", "seeds", "score", "minus dense"):
        table.add_column(column, justify="right")
    before = ""
    for group in groups(rows(plan, store)):
        begins = group["arm"] != before
        if begins and before:
            table.add_section()
        before = group["arm"]
        moved = group["source"] and group["source"] != group["target"]
        task = f"{group['source']} → {group['target']}" if moved else group["target"]
        table.add_row(
            *(group["arm"] if begins else "", group["name"], task),
            *(percent(group["sparsity"]), f"{group['done']}/{group['cells']}"),
            *(score(group), _signed(group["minus_dense"])),
            style="" if group["done"] else "dim",
        )
    console.print()
    console.print(table)


def _signed(change: float | None) -> str:
    return "" if change is None else f"{change:+z.2f}"


def show_report(
    report: Report, console: Console, *, kept: int, seconds: float, command: str
) -> None:
    """What was done; what has failed and why, what wasn't tried for that, and how to try again."""
    took = "" if not report.done else f" in {_duration(seconds)}"
    console.print(f"{len(report.done)} jobs done{took}, {kept} kept from before")
    for job, error in report.failed:
        console.print(styled(("failed", "red"), f" {job.label}: {error}"), soft_wrap=True)
    if report.failed:
        console.print(
            f"{len(report.blocked)} jobs that depend on them were not tried. What is done is kept: "
            f"`{command}` tries the rest again.",
            soft_wrap=True,
        )


def show_status(plan: Plan, store: Store, console: Console) -> None:
    """What came so far, which jobs are running, and how many are left."""
    todo = {job.key for job in plan.jobs if not store.intact(job.key)}
    running = {job: holder for job in plan.jobs if (holder := store.holder(job.key))}
    show_cells(plan, store, console)
    for job, holder in running.items():
        progress = holder.get("progress") or {}
        steps = f"step {progress['done']} of {progress['steps']}" if progress else "begun"
        place = f"{holder['host']}, process {holder['pid']}"
        console.print(f"running  {job.label}: {steps} ({place})", soft_wrap=True)
    done = len(plan.jobs) - len(todo)
    left = remaining(plan, store, todo) if done and todo else None
    work = "" if left is None else f", about {_duration(left)} of work left"
    told = f"{done} of {len(plan.jobs)} jobs are done, {len(running)} running{work}"
    console.print(told, soft_wrap=True)


def show_listing(results: Iterable[Mapping[str, Any]], console: Console) -> None:
    """One line a result."""
    for row in results:
        points = row.get("score")
        told = "" if points is None else f"{points:.2f}"
        line = f"{row['key'][:12]}  {row['kind']:6} {told:>7}  {row['label']}"
        console.print(line, soft_wrap=True)
