"""The verb `bench`: how fast a network runs under its ticket."""

from argparse import Namespace
from typing import TYPE_CHECKING

from tombola.base.specs import BenchSpec
from tombola.cli.arguments import json_flag, knobs_of, write_json
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser, Verb

if TYPE_CHECKING:
    from tombola.api.bench.comparison import BenchmarkResult, Shape
    from tombola.cli.show.grid import Grid

__all__ = ["VERBS"]


def bench_flags(parser: Parser) -> None:
    """Add the flags of `tombola bench`."""
    parser.add_argument(
        "source",
        metavar="DIR|TICKET",
        help="Folder of a trained network with its ticket, as `tombola train` writes it; or of a "
        "ticket, whose pre-trained network is then run",
    )
    add_flags(parser, BenchSpec)
    parser.add_argument("--data", metavar="DIR", help="Where the task's files are")
    parser.add_argument("--model", metavar="NAME", help="Where a ticket's network is, if it moved")
    json_flag(parser)


def bench(options: Namespace) -> None:
    """Measure, and show what was measured."""
    knobs = knobs_of(options, BenchSpec)
    BenchSpec(**knobs)  # reports a mistake before torch is loaded

    from tombola import api

    found = api.bench(options.source, model=options.model, data=options.data, **knobs)
    if not write_json(options.json, found.to_json()):
        _show(found)


def _show(found: "BenchmarkResult") -> None:
    from tombola.base.rounding import percent
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say

    console, about = screen(), found.machine
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    for name, value in {
        "sparsity": f"{percent(found.sparsity)} of the scope",
        "processor": f"{about['processor']}, {about['instruction_set']}",
        "threads": f"{about['threads']}, load before the run {about['load']}",
        "versions": versions,
    }.items():
        say(console, f"{name:10} {value}")
    _weights(found).show(console)
    for shape in found.shapes:
        _calls(shape).show(console)
    for line in found.lost:
        say(console, f"{'no gain':10} {line}")
    for note in found.notes:
        say(console, f"{'note':10} {note}")


def _weights(found: "BenchmarkResult") -> "Grid":
    """Size and score of each runtime."""
    from tombola.cli.show.grid import Grid

    grid = Grid(("runtime",), ("weights, MB", *(["score"] if found.scores else [])))
    for name, size in found.megabytes.items():
        grid.add(name, f"{size:,.1f}", *([f"{found.scores[name]:.2f}"] if found.scores else []))
    return grid


def _calls(shape: "Shape") -> "Grid":
    """Times of the calls of one batch size and length."""
    from tombola.cli.show.grid import Grid

    speed = f"times {next(iter(shape.timings))}"
    grid = Grid(
        ("runtime",),
        ("median ms", "p95 ms", "tokens/s", speed),
        title=f"{shape.batch_size} x {shape.length} tokens",
    )
    for name, one in shape.timings.items():
        grid.add(
            name,
            f"{one.median_ms:,.2f}",
            f"{one.p95_ms:,.2f}",
            f"{one.tokens_per_second:,.0f}",
            f"{one.times_as_fast:.2f}",
        )
    return grid


VERBS = {"bench": Verb(bench_flags, bench)}
