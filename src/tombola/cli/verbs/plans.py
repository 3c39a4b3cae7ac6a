"""The verbs `run`, which does the jobs of a plan, and `status`, which shows how far it has got."""

import dataclasses
import time
from argparse import Namespace
from pathlib import Path

from tombola.base.specs import LabSpec
from tombola.base.text import counted
from tombola.cli.arguments import (
    command,
    json_flag,
    lab_of,
    plan_flags,
    plan_in_store,
    plan_of,
    store_flag,
    write_json,
)
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]

WATCH = 10
"""Seconds between two looks at a plan."""

IDLE_LOOKS = 3
"""Looks in a row at which no process works on a plan, before it is taken to have stopped: a run
takes some time to begin."""


def run_flags(parser: Parser) -> None:
    """Add the flags of `tombola run`."""
    plan_flags(parser)
    add_flags(parser, LabSpec)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Show what it would take, and exit",
    )
    json_flag(parser)


def run(options: Namespace) -> int:
    """Do the jobs that the store lacks; exit status 1 if one failed."""
    from tombola.cli.show.plans import show_cells, show_estimate, show_remarks, show_report
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.bar import ProgressBar, recipe_line
    from tombola.lab.progress.screen import say
    from tombola.lab.starting_ticket import StartingTickets
    from tombola.lab.store.result_store import Store

    console, lab, starts = screen(options.json), lab_of(options), StartingTickets()
    plan, subjects = plan_of(options, starts)
    store = Store(lab.store)
    subjects.save()
    starts.keep(store)
    for note in sorted({note for job in plan.jobs for note in job.subject.notes}):
        say(console, f"note: {note}")
    for line in dict.fromkeys(recipe_line(cell.baseline.subject) for cell in plan.cells):
        say(console, line)
    if options.dry_run:
        from tombola.lab.run.cost_estimate import estimate_cost
        from tombola.lab.run.runner import check_run

        lab = check_run(plan, lab, store)
        found = estimate_cost(plan, store, workers=max(lab.workers, 1), threads=lab.threads)
        facts = {k: v for k, v in dataclasses.asdict(found).items() if v is not None}
        if not write_json(options.json, facts):
            show_estimate(found, console)
        return 0

    from tombola.lab.run.runner import run_plan

    began = time.monotonic()
    _, summary = run_plan(plan, lab, ProgressBar(console))
    from tombola.study.table.table import rows

    table = [row.to_json() for row in rows(plan, store, Path(options.plan).stem)]
    if not write_json(options.json, table):
        show_cells(plan, store, console)
    show_remarks(plan, store, console)
    show_report(
        summary,
        console,
        kept=len(plan.jobs) - summary.counted,
        seconds=time.monotonic() - began,
        command=command("run", options, *(field.name for field in dataclasses.fields(LabSpec))),
    )
    return 1 if summary.failed else 0


def status_flags(parser: Parser) -> None:
    """Add the flags of `tombola status`."""
    plan_flags(parser)
    store_flag(parser)
    parser.add_argument(
        "--watch",
        action="store_true",
        help=f"Show it again every {WATCH} seconds until it is done, or no process works on it",
    )


def status(options: Namespace) -> int:
    """Show how far a plan has got, whichever processes work on it; with --watch, exit status 1 if
    they have all ended before it is done."""
    from tombola.cli.show.plans import show_status
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say

    console, idle = screen(), 0
    while True:
        plan, store = plan_in_store(options)
        if options.watch and console.is_terminal:
            console.clear()
        found = show_status(plan, store, console)
        if not (options.watch and found.left):
            return 0
        idle = 0 if found.in_progress else idle + 1
        if idle == IDLE_LOOKS:
            break
        time.sleep(WATCH)
    left = f"{counted(found.left, 'job')} left, failed or not tried"
    say(console, f"no process works on it: {left}. `{command('run', options)}` continues it.")
    return 1


VERBS = {
    "run": Verb(run_flags, run),
    "status": Verb(status_flags, status),
}
