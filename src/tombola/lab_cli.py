"""The verbs of the laboratory: run a plan, see how it goes, look after the store."""

import json
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.errors import SpecError
from tombola.flags import Parser, add_flags
from tombola.registry import unknown
from tombola.specs import LabSpec

if TYPE_CHECKING:
    from tombola.lab.plan import Plan
    from tombola.lab.store import Store
    from tombola.lab.subjects import Subjects

__all__ = [
    "lab_of",
    "plan_flags",
    "plan_of",
    "run",
    "run_parser",
    "status",
    "status_parser",
    "store",
    "store_of",
    "store_parser",
]

CHORES = ("list", "show", "verify", "gc")


def lab_of(options: Namespace) -> LabSpec:
    """The laboratory that the flags describe."""
    names = LabSpec.__dataclass_fields__
    return LabSpec(**{name: value for name, value in vars(options).items() if name in names})


def plan_of(options: Namespace) -> tuple["Plan", "Subjects"]:
    """The plan that is named, and the fingerprints of its networks and data."""
    from tombola.lab.planfile import data_in, expand, read_plan
    from tombola.lab.subjects import Subjects

    file = read_plan(options.plan)
    data = getattr(options, "data", None)
    if data is not None:
        file = data_in(data, file)
    known = Subjects(Path(lab_of(options).store))

    def subject(task: Any, recipe: Any) -> Any:
        place = file.data.get(task.name)
        folder = None if place is None else str(place)
        return known.subject(file.model, task, recipe, scope=file.scope, folder=folder)

    return expand(file, subject), known


def plan_flags(parser: Parser) -> None:
    """Which plan, and where its data are."""
    parser.add_argument("plan", metavar="PLAN", help="a plan of the catalog, or a YAML file")
    parser.add_argument("--data", metavar="DIR", help="folder with a folder of files for each task")


def store_of(options: Namespace) -> "Store":
    """The store that is named, which must be there."""
    from tombola.lab.store import Store

    folder = Path(lab_of(options).store)
    if not folder.is_dir():
        raise SpecError(f"expected a store at {str(folder)!r}, got nothing. Name one with --store.")
    return Store(folder)


# --- run ---------------------------------------------------------------------


def run_parser(parser: Parser) -> None:
    """The flags of `tombola run`."""
    plan_flags(parser)
    add_flags(parser, LabSpec)
    parser.add_argument("--dry-run", action="store_true", help="tell what it would take, and end")
    parser.add_argument("--json", metavar="FILE", help="also write the scores of every cell there")


def run(options: Namespace) -> int:
    """Do what the store lacks of a plan; 1 if a job has failed."""
    from rich.console import Console

    from tombola.lab.store import Store
    from tombola.terminal_lab import show_cells, show_estimate, show_report

    console, lab = Console(), lab_of(options)
    plan, known = plan_of(options)
    kept = Store(lab.store)
    known.save()
    for note in sorted({note for job in plan.jobs for note in job.subject.notes}):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if options.dry_run:
        from tombola.lab.estimate import estimate
        from tombola.lab.run import threads_of

        workers, threads = max(lab.workers, 1), threads_of(lab)
        show_estimate(estimate(plan, kept, workers=workers, threads=threads), console)
        return 0

    from tombola.lab.run import run as run_plan
    from tombola.terminal import Live

    began = time.monotonic()
    with Live(console) as live:
        _, report = run_plan(plan, lab, live)
    if options.json:
        from tombola.study.table import rows
        from tombola.ticket.folder import write_file

        name = Path(options.plan).stem
        write_file(
            options.json,
            json.dumps([row.to_json() for row in rows(plan, kept, name)], indent=1) + "\n",
        )
    show_cells(plan, kept, console)
    show_report(
        report,
        console,
        kept=len(plan.jobs) - len(report.done) - len(report.failed) - len(report.blocked),
        seconds=time.monotonic() - began,
        command=f"tombola run {options.plan}",
    )
    return 1 if report.failed else 0


# --- status ------------------------------------------------------------------


def status_parser(parser: Parser) -> None:
    """The flags of `tombola status`."""
    plan_flags(parser)
    add_flags(parser, LabSpec, leave_out=set(LabSpec.__dataclass_fields__) - {"store"})


def status(options: Namespace) -> int:
    """How far a plan is, whoever works on it."""
    from rich.console import Console

    from tombola.terminal_lab import show_status

    kept = store_of(options)
    plan, known = plan_of(options)
    known.save()
    show_status(plan, kept, Console())
    return 0


# --- store -------------------------------------------------------------------


def store_parser(parser: Parser) -> None:
    """The flags of `tombola store`."""
    parser.add_argument("chore", metavar="list|show|verify|gc", help="what to do")
    parser.add_argument("key", metavar="KEY", nargs="?", help="of `show`: the first digits do")
    add_flags(parser, LabSpec, leave_out=set(LabSpec.__dataclass_fields__) - {"store"})
    parser.add_argument("--kind", help="of `list`: train, prune or interpolate")
    parser.add_argument("--task", help="of `list`: results of that task only")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def store(options: Namespace) -> int:
    """List, show, check or tidy a store; 1 if something is damaged."""
    from rich.console import Console

    from tombola.terminal_lab import show_listing

    if options.chore not in CHORES:
        raise unknown("chore of a store", options.chore, CHORES)
    console, kept = Console(), store_of(options)
    if options.chore == "list":
        wanted = {k: v for k in ("kind", "task") if (v := getattr(options, k)) is not None}
        rows = [row for row in kept.rows() if all(row.get(k) == v for k, v in wanted.items())]
        if options.json:
            print(json.dumps(rows, indent=1))
        else:
            show_listing(rows, console)
    elif options.chore == "show":
        print(json.dumps(_shown(kept, options.key), indent=1))
    elif options.chore == "verify":
        damaged = list(kept.verify())
        for key, what in damaged:
            console.print(f"{key[:12]} {what}", soft_wrap=True, highlight=False)
        console.print(f"{len(damaged)} of {len(kept.rows())} results are damaged")
        return 1 if damaged else 0
    else:
        for what, count in kept.collect().items():
            console.print(f"{what.replace('_', ' '):16} {count:,}", highlight=False)
        if kept.wanted():
            console.print("a plan is running: the weights that it reads stay")
    return 0


def _shown(kept: Any, start: str | None) -> dict[str, Any]:
    """All that is known of the one result whose key begins so."""
    import dataclasses

    if not start:
        raise SpecError("expected a key after `show`, got none. `tombola store list` shows them.")
    keys = [row["key"] for row in kept.rows() if row["key"].startswith(start)]
    if len(keys) != 1:
        raise SpecError(
            f"expected the first digits of one key, got {start!r}, with which {len(keys)} begin. "
            "`tombola store list` shows them."
        )
    return dataclasses.asdict(kept.read(keys[0]))
