"""The verbs of a study: what the runs of a plan say. They read the store, and run nothing."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.text import printable
from tombola.cli.arguments import (
    command,
    json_flag,
    plan_flags,
    plan_in_store,
    store_flag,
    write_json,
)
from tombola.cli.flags import Parser

if TYPE_CHECKING:
    from tombola.lab.store.store import Store
    from tombola.plan.plan import Plan
    from tombola.study.table.row import Row

__all__ = ["claims", "matching", "study_parser", "table", "table_parser", "transfer"]


def study_parser(parser: Parser) -> None:
    """The flags that every verb of a study has."""
    plan_flags(parser, ", or a table of runs (.csv, .parquet) that `tombola table` wrote")
    store_flag(parser)
    json_flag(parser)


def _rows(options: Namespace) -> tuple[list["Row"], tuple["Plan", "Store"] | None]:
    """The rows of a table; or of a plan, of which the store has at least one, and the two."""
    from tombola.study.table.reading import is_table, read_rows
    from tombola.study.table.table import refuse_empty, rows

    if is_table(options.plan):
        return read_rows(options.plan), None
    plan, kept = plan_in_store(options)
    table = rows(plan, kept, Path(options.plan).stem)
    refuse_empty(table, kept, command("run", options))
    return table, (plan, kept)


def _show_gaps(options: Namespace, table: list["Row"]) -> None:
    """What is missing, and what goes on with it; with a table nothing does."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_unfinished
    from tombola.study.table.reading import is_table

    again = None if is_table(options.plan) else command("run", options)
    show_unfinished(table, screen(options.json), command=again)


def matching(options: Namespace) -> None:
    """Which networks of a plan match their dense network."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_matching
    from tombola.study.verdicts.evidence import one_run
    from tombola.study.verdicts.plan_verdicts import matching

    table, there = _rows(options)
    found = matching(table, one_run(there[1]) if there else None)
    if not write_json(options.json, found.to_json()):
        show_matching(found, screen())
    _show_gaps(options, table)


def transfer(options: Namespace) -> None:
    """How the tickets of each task fare on the others."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_transfer
    from tombola.study.verdicts.transfer import transfer

    table, _ = _rows(options)
    found = transfer(table)
    if not found:
        raise SpecError(
            f"expected a plan with an arm of kind transfer, got {options.plan!r} without one. "
            "`figure2` has one."
        )
    if not write_json(options.json, [matrix.to_json() for matrix in found]):
        show_transfer(found, screen())
    _show_gaps(options, table)


def claims(options: Namespace) -> None:
    """What becomes of each claim of the paper."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.verdicts import show_claims
    from tombola.study.claims.claims import claims

    table, _ = _rows(options)
    found = claims(table)
    if not write_json(options.json, [claim.to_json() for claim in found]):
        show_claims(found, screen())
    _show_gaps(options, table)


def table_parser(parser: Parser) -> None:
    """The flags of `tombola table`."""
    study_parser(parser)
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="csv, parquet, latex or markdown (default: as --output ends, or csv)",
    )
    parser.add_argument("--output", metavar="FILE", help="write the table there")
    parser.add_argument(
        "--together", action="store_true", help="one row for all seeds of a network"
    )
    parser.add_argument(
        "--fill", metavar="FILE", help="take what is missing from this table of the same plan"
    )


def table(options: Namespace) -> None:
    """Every run of a plan, one row each."""
    from tombola.base.folders import check_file, write_bytes
    from tombola.study.table.export import FORMATS, SUFFIXES, export
    from tombola.study.table.reading import filled, read_rows
    from tombola.study.table.table import with_overlaps

    suffix = SUFFIXES.get(Path(options.output).suffix, "csv") if options.output else "csv"
    form = options.format or suffix
    FORMATS[form]
    if form == "parquet" and not options.output:
        raise SpecError("parquet is no text, got no file for it. Name one with --output.")
    if options.output:
        check_file(options.output)
    rows, there = _rows(options)
    if there:
        rows = with_overlaps(rows, *there)
    if options.fill:
        rows = filled(rows, read_rows(options.fill))
    shown = not write_json(options.json, [row.to_json() for row in rows])
    content = export(rows, form, together=options.together)
    if options.output:
        write_bytes(options.output, content)
    elif shown:
        _print(content)


def _print(content: bytes) -> None:
    """Print a table: to people in their encoding, to programs in UTF-8, as it is in a file."""
    if sys.stdout.isatty():
        sys.stdout.write("\n".join(map(printable, content.decode().split("\n"))))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
