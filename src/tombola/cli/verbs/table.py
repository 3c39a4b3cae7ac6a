"""The verb `table`, which exports every run of a plan as CSV, Parquet, LaTeX or Markdown."""

import sys
from argparse import Namespace
from pathlib import Path

from tombola.base.errors import SpecError
from tombola.base.text import printable
from tombola.cli.arguments import rows_of, study_flags, write_json
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def table_flags(parser: Parser) -> None:
    """Add the flags of `tombola table`."""
    study_flags(parser)
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="csv, parquet, latex or markdown (default: what --output ends in, or csv)",
    )
    parser.add_argument("--output", metavar="FILE", help="Write the table to this file")
    parser.add_argument(
        "--together", action="store_true", help="One row for all seeds of a network"
    )
    parser.add_argument(
        "--fill", metavar="FILE", help="Take missing runs from this table of the same plan"
    )


def table(options: Namespace) -> None:
    """Export every run of a plan, one row each."""
    from tombola.base.files import check_file, write_bytes
    from tombola.study.table.export import FORMATS, SUFFIXES, export
    from tombola.study.table.reading import filled, read_rows
    from tombola.study.table.table import with_overlaps

    suffix = SUFFIXES.get(Path(options.output).suffix, "csv") if options.output else "csv"
    form = options.format or suffix
    FORMATS[form]
    if form == "parquet" and not options.output:
        raise SpecError("parquet is binary and needs a file, got none. Pass --output.")
    if options.output:
        check_file(options.output)
    rows, there = rows_of(options)
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
    """Print a table: escaped on a terminal, and byte for byte into a pipe or file."""
    if sys.stdout.isatty():
        sys.stdout.write("\n".join(map(printable, content.decode().split("\n"))))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)


VERBS = {
    "table": Verb(table_flags, table),
}
