"""The verbs `matching`, `leaderboard`, `transfer` and `claims`, which judge the runs of a plan."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import SpecError
from tombola.cli.arguments import command, refuse_shared_data, rows_of, study_flags, write_json
from tombola.cli.parser import Parser, Verb

if TYPE_CHECKING:
    from tombola.lab.store.result_store import Store
    from tombola.plan.plan import Plan
    from tombola.study.claims.claim import Claim
    from tombola.study.table.row import Row
    from tombola.study.verdicts.matching import OneRun
    from tombola.study.verdicts.seeds_and_examples import ComponentsOf

__all__ = ["VERBS"]


def _show_gaps(options: Namespace, table: list["Row"], *, several: bool) -> None:
    """Say how many runs are missing, and how to continue (a table has no way to).

    Args:
        options: the options, with the plan or table.
        table: its rows.
        several: whether there are several plans, so that their names are needed.
    """
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_unfinished
    from tombola.study.table.grouping import by_plan
    from tombola.study.table.reading import is_table

    resume = None if is_table(options.plan) else command("run", options)
    for rows in by_plan(table).values():
        show_unfinished(rows, screen(options.json), command=resume, name_plan=several)


def _has_several(table: list["Row"]) -> bool:
    """Whether a table has the runs of several plans."""
    return len({row.plan for row in table}) > 1


def _by_example(there: "tuple[Plan, Store] | None") -> "tuple[OneRun | None, ComponentsOf | None]":
    """What looks at single test examples, if there is a store with predictions."""
    if there is None:
        return None, None
    from tombola.study.verdicts.seeds_and_examples import components_from
    from tombola.study.verdicts.single_run import verdicts_from  # loads torch

    return verdicts_from(there[1]), components_from(there[1])


def matching(options: Namespace) -> None:
    """Show which networks of a plan match their dense network."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_matching
    from tombola.study.verdicts.matching import matching

    table, there = rows_of(options)
    found = matching(table, *_by_example(there))
    if not write_json(options.json, found.to_json()):
        show_matching(found, screen(), by_plan=_has_several(table))
    _show_gaps(options, table, several=_has_several(table))


def leaderboard_flags(parser: Parser) -> None:
    """Add the flags of `tombola leaderboard`."""
    study_flags(parser)
    parser.add_argument(
        "--output", metavar="DIR", help="Folder for leaderboard.svg and leaderboard.png"
    )


def leaderboard(options: Namespace) -> None:
    """Show, and draw, the tickets of all finders next to each other."""
    from tombola.base.folders import check_folder
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_leaderboard
    from tombola.lab.progress.screen import say
    from tombola.study.leaderboard.board import leaderboard

    if options.output:
        check_folder(options.output)
    table, there = rows_of(options)
    found = leaderboard(table, *_by_example(there))
    if not found.boards:
        raise SpecError(f"expected a plan with a finder's arm, got {options.plan!r} without one.")
    plain = found.to_json()
    if not write_json(options.json, plain):
        show_leaderboard(found, screen(), by_plan=_has_several(table))
    if options.output:
        from tombola.report.figures.leaderboard import save

        for path in save(plain["boards"], Path(options.output)):
            say(screen(options.json), str(path))
    _show_gaps(options, table, several=_has_several(table))


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
        show_transfer(found, screen(), by_plan=_has_several(table))
    _show_gaps(options, table, several=_has_several(table))


def claims_flags(parser: Parser) -> None:
    """Add the flags of `tombola claims`."""
    study_flags(parser, several=True)


def claims(options: Namespace) -> None:
    """Check plans, together and one by one, against each claim of the paper."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_claims, show_claims_by_plan
    from tombola.study.claims.claims import decide_claims
    from tombola.study.table.grouping import by_plan
    from tombola.study.table.integrity import refuse_other_scores

    refuse_shared_data(options.data, options.plans)
    each = [Namespace(**vars(options), plan=plan) for plan in options.plans]
    tables = [rows_of(one)[0] for one in each]
    _refuse_repeated_plans(options.plans, tables)
    refuse_other_scores(tables, options.plans)
    table = [row for rows in tables for row in rows]
    found = decide_claims(table)
    alone = {name: decide_claims(rows) for name, rows in by_plan(table).items()}
    if not write_json(options.json, [_with_plans(claim, alone) for claim in found]):
        show_claims(found, screen())
        if len(alone) > 1:
            show_claims_by_plan(alone, screen())
    for one, rows in zip(each, tables, strict=True):
        _show_gaps(one, rows, several=len(alone) > 1)


def _refuse_repeated_plans(given: Sequence[str], tables: Sequence[Sequence["Row"]]) -> None:
    """Refuse rows of one plan in two places.

    Raises: SpecError.
    """
    place_of: dict[str, str] = {}
    for place, rows in zip(given, tables, strict=True):
        for plan in dict.fromkeys(row.plan for row in rows):
            if plan in place_of:
                raise SpecError(
                    f"expected each plan once, got {plan!r} in {place_of[plan]!r} and in "
                    f"{place!r}. Rename one, or, if they are two tables of one plan, join them "
                    "with `tombola table PLAN --fill FILE`."
                )
            place_of[plan] = place


def _with_plans(claim: "Claim", alone: Mapping[str, Sequence["Claim"]]) -> dict[str, Any]:
    """A claim as JSON has it, with what each plan says alone."""
    same = {name: next(c for c in every if c.id == claim.id) for name, every in alone.items()}
    return claim.to_json() | {"plans": {name: mine.status for name, mine in same.items()}}


VERBS = {
    "matching": Verb(study_flags, matching),
    "leaderboard": Verb(leaderboard_flags, leaderboard),
    "transfer": Verb(study_flags, transfer),
    "claims": Verb(claims_flags, claims),
}
