"""The verbs `matching`, `transfer` and `claims`, which judge the runs of a plan."""

from argparse import Namespace
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.cli.arguments import command, rows_of, study_flags, write_json
from tombola.cli.parser import Verb

if TYPE_CHECKING:
    from tombola.study.table.row import Row

__all__ = ["VERBS"]


def _show_gaps(options: Namespace, table: list["Row"]) -> None:
    """Say how many runs are missing, and how to continue (a table has no way to)."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_unfinished
    from tombola.study.table.reading import is_table

    resume = None if is_table(options.plan) else command("run", options)
    show_unfinished(table, screen(options.json), command=resume)


def matching(options: Namespace) -> None:
    """Show which networks of a plan match their dense network."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_matching
    from tombola.study.verdicts.matching import OneRun, matching

    table, there = rows_of(options)
    one_run: OneRun | None = None
    if there:  # a table has no predictions, and reading those of a store loads torch
        from tombola.study.verdicts.single_run import verdicts_from

        one_run = verdicts_from(there[1])
    found = matching(table, one_run)
    if not write_json(options.json, found.to_json()):
        show_matching(found, screen())
    _show_gaps(options, table)


def transfer(options: Namespace) -> None:
    """Show how the tickets of each task do on the other tasks."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_transfer
    from tombola.study.verdicts.transfer import transfer_matrices

    table, _ = rows_of(options)
    found = transfer_matrices(table)
    if not found:
        raise SpecError(
            f"expected a plan with an arm of kind transfer, got {options.plan!r} without one. "
            "`figure2` has one."
        )
    if not write_json(options.json, [matrix.to_json() for matrix in found]):
        show_transfer(found, screen())
    _show_gaps(options, table)


def claims(options: Namespace) -> None:
    """Check the plan against each claim of the paper."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_claims
    from tombola.study.claims.claims import decide_claims

    table, _ = rows_of(options)
    found = decide_claims(table)
    if not write_json(options.json, [claim.to_json() for claim in found]):
        show_claims(found, screen())
    _show_gaps(options, table)


VERBS = {
    "matching": Verb(study_flags, matching),
    "transfer": Verb(study_flags, transfer),
    "claims": Verb(study_flags, claims),
}
