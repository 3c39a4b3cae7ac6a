"""A network in a terminal: what each scope would prune, and what it leaves out."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from rich.console import Console

from tombola.base.rounding import percent
from tombola.cli.show.grid import Grid
from tombola.lab.progress.screen import say
from tombola.ticket.scope import starred

__all__ = ["show_network"]


def show_network(facts: Mapping[str, Any], console: Console) -> None:
    """Show the size of a network, and what each scope would prune of it."""
    say(console, f"{'model':12} {facts['model']}, {facts['architecture']} without a task head")
    say(console, f"{'fingerprint':12} {facts['fingerprint']}")
    say(console, f"{'weights':12} {facts['size']:,}")
    for scope, about in facts["scopes"].items():
        say(console)
        if "refused" in about:
            say(console, f"{'scope':12} {scope}: {about['refused']}")
        else:
            _show_scope(scope, about, console)


def _show_scope(scope: str, about: Mapping[str, Any], console: Console) -> None:
    """Show the matrices of a scope, the sizes of its tickets, and what it leaves out."""
    share, count = percent(about["share"], digits=1), len(about["matrices"])
    sizes = ", ".join(
        f"{size / 1000:,.0f} kB at {percent(sparsity)}"
        for sparsity, size in about["ticket_bytes"].items()
    )
    say(console, f"{'scope':12} {scope}")
    say(console, f"{'prunes':12} {about['size']:,} weights in {count} matrices, {share} of all")
    say(console, f"{'ticket':12} {sizes}, of the largest weights")
    prunes = Grid(("matrix",), ("shape", "number", "weights"))
    for kind in _kinds(about["matrices"]):
        prunes.add(*kind)
    prunes.show(console)
    _left_out(about["left_out"]).show(console)


def _left_out(parameters: Mapping[str, Mapping[str, Any]]) -> Grid:
    """What a scope leaves out: matrices and tables by kind, all vectors in one row."""
    grid = Grid(("left out",), ("shape", "number", "weights"), ("what it is",))
    shapes = {name: one["shape"] for name, one in parameters.items()}
    several = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    reasons = {starred(name): one["reason"] for name, one in parameters.items()}
    for name, *numbers in _kinds(several):
        grid.add(name, *numbers, reasons[starred(name)])
    vectors = [prod(shape) for name, shape in shapes.items() if name not in several]
    if vectors:
        grid.add(
            "vectors", "", str(len(vectors)), f"{sum(vectors):,}", "biases, norms and the like"
        )
    return grid


def _kinds(shapes: Mapping[str, list[int]]) -> Iterator[tuple[str, str, str, str]]:
    """A row for all that differ in the number of their block only: name, shape, number, weights."""
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault((starred(name), tuple(shape)), []).append(name)
    for (name, dimensions), members in groups.items():
        number = len(members)
        yield (
            name if number > 1 else members[0],
            "x".join(map(str, dimensions)),
            str(number),
            f"{number * prod(dimensions):,}",
        )
