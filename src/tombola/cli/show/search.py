"""What a person sees in a terminal: progress while it runs, tables when it is done."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from tombola.base.folders import directory_size
from tombola.base.text import printable
from tombola.cli.show.grid import Grid, show_rows
from tombola.cli.show.screen import say
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result_store import Result
from tombola.plan.job import Job, Subject
from tombola.tasks.input_counts import InputCounts

__all__ = [
    "Live",
    "percent",
    "recipe_line",
    "score",
    "show_entries",
    "show_evaluated",
    "show_found",
    "show_ticket",
]


LABEL = 36
"""Columns of the label next to a progress bar."""


class Live(RunCallback):
    """A progress bar over all steps, and a line for each training that ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(*_parts(console.width), console=console, transient=True)
        self.done: dict[str, int] = {}
        """Key -> steps done of each job that has begun."""
        self.task = self.bar.add_task("", start=False, visible=False, jobs=0, number=0)

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def subject(self, subject: Subject) -> None:
        """Say how it is trained."""
        self.console.print(recipe_line(subject), soft_wrap=True)

    def plan(self, todo: list[Job], kept: list[Job]) -> None:
        """Open the bar."""
        if kept:
            trainings = sum(job.kind == "train" for job in kept)
            say(self.console, f"  trainings kept from before: {trainings}")
        if todo:
            steps = sum(_share(job) for job in todo)
            self.bar.update(self.task, total=steps, jobs=len(todo), visible=True)
            self.bar.start_task(self.task)
            self.bar.start()

    def start(self, job: Job) -> None:
        """Name the job that runs."""
        self.done.setdefault(job.key, 0)
        label = job.label if len(job.label) <= LABEL else f"{job.label[: LABEL - 3]}..."
        self.bar.update(self.task, description=printable(label), number=len(self.done))

    def step(self, job: Job, done: int, steps: int) -> None:
        """Move the bar."""
        self._move(job, done)

    def _move(self, job: Job, done: int) -> None:
        self.bar.advance(self.task, done - self.done.get(job.key, 0))
        self.done[job.key] = done

    def finish(self, job: Job, result: Result) -> None:
        """Say how a training ended."""
        self._move(job, _share(job))
        if job.kind == "train":
            say(self.console, f"  {job.label:44} {_ended(result)}")

    def fail(self, job: Job, reason: str) -> None:
        """Say what has failed."""
        say(self.console, (f"  {job.label}: {reason}", "red"))


def _parts(width: int) -> list[ProgressColumn]:
    """What of a progress bar fits into a window."""
    label = TextColumn(f"{{task.description:{LABEL}}}", markup=False)
    text = TextColumn("job {task.fields[number]} of {task.fields[jobs]}, left:", markup=False)
    counts = [TaskProgressColumn(), text, TimeRemainingColumn(compact=True)]
    if width >= 100:
        return [label, BarColumn(bar_width=26), *counts]
    return [label, *counts] if width >= 75 else [*counts]


def _ended(result: Result) -> str:
    """The score of a training, or why it has none."""
    score = result.facts["score"]
    return str(result.diverged or "diverged") if score is None else f"{score:6.2f}"


def recipe_line(subject: Subject) -> str:
    """The recipe of a task on a network as it was settled, in one line."""
    spec, steps = subject.recipe, subject.steps
    epochs = f"{spec.epochs:g} epochs"
    if steps == spec.min_steps:
        used = min(subject.examples, spec.train_limit or subject.examples)
        epochs = f"{steps * spec.batch_size / used:.3g} epochs, for {steps}"
    else:
        epochs += f", {steps}"
    return (
        f"recipe of {subject.task.name}: learning rate {spec.learning_rate:g}, {epochs} steps of "
        f"{spec.batch_size}, up to {spec.max_length} tokens"
    )


def _share(job: Job) -> int:
    """How much of the bar a job takes: its optimizer steps, or one."""
    return max(1, job.steps)


def show_found(found: Mapping[str, Any], console: Console, *, example: str) -> None:
    """The table of a search, its verdict, and what to do next."""
    dense, last = found["dense"], found["rounds"][-1]
    seeds = len(dense["values"])
    table = Grid(
        ("network",),
        ("sparsity", "score", "minus dense", "overlap with one-shot"),
        title=f"{found['task']}, {found['model']}: {found['metric']} on the {found['split']} "
        f"split, {seeds} seed{'s' * (seeds > 1)}",
        frame=box.HEAVY_HEAD,
    )
    table.add("dense", "0 %", score(dense), "", "", rule=True)
    for entry in found["rounds"]:
        table.add(
            "IMP ticket",
            percent(entry["sparsity"]),
            score(entry),
            _minus(entry, dense),
            "" if entry["jaccard_one_shot"] is None else f"{entry['jaccard_one_shot']:.3f}",
            rule=entry is last,
        )
    for name, entry in found["controls"].items():
        change = _minus(entry, dense)
        table.add(name, percent(last["sparsity"]), score(entry), change, "")
    console.print()
    table.show(console)
    _print_more({"dense": dense, "ticket": last, **found["controls"]}, console)
    _print_verdict(found, console)
    _print_places(found, console)
    if not found["ticket"]:
        return
    console.print()
    say(console, ("use it:", "dim"))
    for line in example.splitlines():
        say(console, line)


def _print_more(entries: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Other metrics than the one that decides, a line each."""
    whole = {name: entry["more"] for name, entry in entries.items() if entry.get("more")}
    for metric in next(iter(whole.values()), {}):
        told = (f"{name} {more[metric]:.2f}" for name, more in whole.items())
        say(console, f"{metric}: {', '.join(told)}")


def _print_verdict(result: Mapping[str, Any], console: Console) -> None:
    say(console, (result["verdict"]["sentence"], "bold"))
    for note in result["notes"]:
        say(console, ("note:", "yellow"), f" {note}")


def _print_places(found: Mapping[str, Any], console: Console) -> None:
    last = found["rounds"][-1]["sparsity"]
    rows = {"texts": _texts(found)}
    if not found["ticket"]:
        rows["result"] = str(Path(found["output"]) / "result.json")
    else:
        size = directory_size(found["ticket"]) / 1000
        whole = f"{found['whole_model_sparsity']:.1%} of the whole encoder with its embeddings"
        rows |= {
            "ticket": f"{found['ticket']} ({size:,.0f} kB)",
            "picture": f"{Path(found['output']) / 'scores.png'}, .svg",
            "sparsity": f"{percent(last)} of the scope, {whole}",
        }
    rows |= {
        "training": f"{found['seconds']:,.0f} s in all; the learning rate of one sums to "
        f"{found['summed_learning_rate']:.3g}",
    }
    for name, text in rows.items():
        say(console, f"{name:9} {text}")


def show_evaluated(result: Mapping[str, Any], console: Console) -> None:
    """The dense network and the ticket, side by side."""
    table = Grid(
        ("network",),
        ("sparsity", "score", "minus dense"),
        title=f"{result['task']}, {result['model']}: {result['metric']} on the "
        f"{result['split']} split",
        frame=box.HEAVY_HEAD,
    )
    change = _minus(result["scores"], result["dense"])
    table.add("dense", "0 %", score(result["dense"]), "")
    sparsity = percent(result["sparsity"])
    table.add(f"ticket, {result['init']}", sparsity, score(result["scores"]), change)
    console.print()
    table.show(console)
    _print_more({"dense": result["dense"], "ticket": result["scores"]}, console)
    _print_verdict(result, console)
    say(console, f"texts     {_texts(result)}")


def _texts(result: Mapping[str, Any]) -> str:
    """What was read of the training split, in a line."""
    counted = result["counts"].get("train", {}).get("inputs")
    return InputCounts(**counted).sentence("train") if counted else "not counted"


def show_ticket(facts: Mapping[str, Any], console: Console) -> None:
    """Provenance and sparsity per matrix."""
    for name, value in facts.items():
        if name not in ("layers", "shapes"):
            say(console, f"{name:12} {value}")
    rows = (
        (name, "x".join(map(str, facts["shapes"][name])), f"{sparsity:.1%}")
        for name, sparsity in facts["layers"].items()
    )
    show_rows(("matrix", "shape", "sparsity"), rows, console)


def show_entries(
    columns: Sequence[str], entries: Iterable[tuple[Sequence[str], str]], console: Console
) -> None:
    """A line for each entry, and under it what it is: a sentence too long for a column."""
    known = [(tuple(fields), about) for fields, about in entries]
    rows = [tuple(columns), *(fields for fields, _ in known)]
    widths = [max(map(len, cells)) + 2 for cells in zip(*rows, strict=True)]
    lines = [
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    say(console, (lines[0].rstrip(), "bold"))
    for line, (_, about) in zip(lines[1:], known, strict=True):
        say(console, line.rstrip())
        say(console, (f"  {about}", "dim"))


def score(entry: Mapping[str, Any]) -> str:
    """Mean and standard deviation, as far as there are any, and how many runs diverged."""
    lost = f"{entry['diverged']} diverged" if entry.get("diverged") else ""
    if entry["mean"] is None:
        return lost
    spread = "" if entry["std"] is None else f" ± {entry['std']:.2f}"
    return f"{entry['mean']:.2f}{spread}{', ' * bool(lost)}{lost}"


def _minus(entry: Mapping[str, Any], dense: Mapping[str, Any]) -> str:
    """The difference of two means, if there are both."""
    if entry["mean"] is None or dense["mean"] is None:
        return ""
    return f"{entry['mean'] - dense['mean']:+.2f}"


def percent(sparsity: str | None) -> str:
    """A fraction in percent; nothing for None."""
    return "" if sparsity is None else f"{100 * float(sparsity):g} %"
