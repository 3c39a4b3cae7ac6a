"""A plan in a terminal: its cost, its scores, how far it has got."""

from dataclasses import dataclass

from rich import box
from rich.console import Console

from tombola.base.rounding import duration, percent, points
from tombola.base.text import counted, task_text
from tombola.cli.show.grid import Grid
from tombola.cli.show.scores import score
from tombola.lab.progress.screen import say
from tombola.lab.run.cost_estimate import CostEstimate, GpuEstimate, remaining_seconds
from tombola.lab.run.engine import RunSummary, outstanding
from tombola.lab.store.result_store import Store
from tombola.plan.plan import Plan
from tombola.study.table.table import groups, rows, texts_read
from tombola.tasks.input_counts import InputCounts

__all__ = [
    "PlanProgress",
    "show_cells",
    "show_estimate",
    "show_remarks",
    "show_report",
    "show_status",
]


@dataclass(frozen=True)
class PlanProgress:
    """How far a plan has got."""

    left: int
    """Jobs that are not done and can be."""
    in_progress: bool
    """Whether a process does one of its jobs, or is in a run that has some."""


def show_estimate(found: CostEstimate, console: Console) -> None:
    """Show the jobs of a plan, and the time and disk that they will take."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    lines = {
        "jobs": kinds,
        "stored": f"{found.stored:,}",
        "shared": f"{counted(found.shared, 'job')} serve several cells and run once",
        "time": f"about {duration(found.seconds)}",
        "disk": f"{found.disk / 1e6:,.0f} MB kept, {found.weights / 1e6:,.0f} MB temporary",
    }
    for name, text in lines.items():
        say(console, f"{name:9}{text}")
    if found.gpu:
        say(console, f"{'gpu':9}{_sharing(found.gpu)}")


def _sharing(found: GpuEstimate) -> str:
    """How many trainings of a plan share a GPU, in words."""
    each = "a GPU" if found.gpus == 1 else f"each of {found.gpus} GPUs"
    return (
        f"about {_memory(found.memory)} a training, so {found.fitting:,} at once on "
        f"{each} of {_memory(found.size)} (--workers)"
    )


def _memory(taken: int) -> str:
    return f"{taken / 2**30:.1f} GiB" if taken >= 2**30 else f"{taken / 2**20:.0f} MiB"


def show_cells(plan: Plan, store: Store, console: Console) -> None:
    """Show the scores of every cell, arm by arm, with all seeds in one row."""
    table = Grid(
        ("arm", "network", "task"),
        ("sparsity", "seeds", "score", "minus dense"),
        frame=box.HORIZONTALS,
    )
    found = groups(rows(plan, store))
    for at, group in enumerate(found):
        begins = not at or group["arm"] != found[at - 1]["arm"]
        ends = at + 1 < len(found) and group["arm"] != found[at + 1]["arm"]
        task = task_text(group["source"], group["target"])
        table.add(
            *(group["arm"] if begins else "", group["name"], task),
            *(percent(group["sparsity"] or 0), f"{group['done']}/{group['cells']}"),
            *(score(group), _signed(group["minus_dense"])),
            style="" if group["done"] else "dim",
            rule=ends,
        )
    console.print()
    table.show(console)


def _signed(change: float | None) -> str:
    return "" if change is None else points(change, signed=True)


def show_remarks(plan: Plan, store: Store, console: Console) -> None:
    """Show what a reader must know about the texts of each task, if anything."""
    for task, splits in texts_read(plan, store).items():
        for split, each in splits.items():
            for remark in InputCounts(**each).remarks(split):
                say(console, ("note", "yellow"), f" on {task}: {remark}")


def show_report(
    summary: RunSummary, console: Console, *, kept: int, seconds: float, command: str
) -> None:
    """Show how many jobs were done, which failed and why, and how to try them again."""
    took = "" if not summary.done else f" in {duration(seconds)}"
    say(console, f"{counted(len(summary.done), 'job')} done{took}, {kept} reused from the store")
    for job, error in summary.failed:
        say(console, ("failed", "red"), f" {job.label}: {error}")
    if summary.stopped:
        say(
            console,
            f"{counted(len(summary.stopped), 'job')} can't be done after a training that diverged. "
            "A lower learning rate may help.",
        )
    if summary.failed:
        say(
            console,
            f"{counted(len(summary.blocked), 'dependent job')} not tried. Results are kept: "
            f"`{command}` tries the rest again.",
        )


def show_status(plan: Plan, store: Store, console: Console) -> PlanProgress:
    """Show the scores so far, the jobs that are running, and how many are left."""
    todo, halted = outstanding(plan, store)
    running = {job: holder for job in plan.jobs if (holder := store.holder(job.key))}
    show_cells(plan, store, console)
    for job, holder in running.items():
        progress = holder.get("progress") or {}
        steps = f"step {progress['done']} of {progress['steps']}" if progress else "started"
        if (loss := progress.get("loss")) is not None:
            steps += f", loss {loss:.3f}"
        place = f"{holder['host']}, process {holder['pid']}"
        say(console, f"running  {job.label}: {steps} ({place})")
    done = sum(store.intact(job.key) for job in plan.jobs)  # some are trained again for weights
    left = remaining_seconds(plan, store, todo) if done and todo else None
    work = "" if left is None else f", about {duration(left)} of work left"
    lost = f", {len(halted)} can't be done after a training that diverged" if halted else ""
    say(console, f"{done} of {len(plan.jobs)} jobs are done, {len(running)} running{lost}{work}")
    reading = store.wanted() & {job.key for job in plan.jobs}
    return PlanProgress(left=len(todo), in_progress=bool(running or reading))
