"""What a person sees of overlaps, distances and connectivity."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console

from tombola.cli.show.grid import show_rows
from tombola.cli.show.screen import say
from tombola.cli.show.search import percent

__all__ = ["show_distances", "show_lines", "show_overlap"]


def show_overlap(found: Mapping[str, Any], console: Console) -> None:
    """Every pair beside chance, the layers, agreement, and what died whole."""
    masks, pairs = found["masks"], found["pairs"]
    say(console, "Jaccard index of the dead weights; chance has the same dead in each matrix")
    show_rows(
        ("mask", "and", "Jaccard", "chance", "z"),
        ((pair["a"], pair["b"], *_numbers(pair)) for pair in pairs),
        console,
        texts=2,
    )
    columns = ("matrix", "sparsity", "Jaccard", "chance", "z")
    show_rows(columns, _layers(masks, pairs), console)
    if len(masks) > 2:
        _show_agreement(found["agreement"], console)
    for mask in masks:
        _show_fallen(mask, console)


def _numbers(pair: Mapping[str, Any]) -> tuple[str, str, str]:
    z = "" if pair["z"] is None else f"{pair['z']:+z,.1f}"
    return f"{pair['jaccard']:.3f}", f"{pair['chance']:.3f}", z


def _layers(
    masks: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[str, ...]]:
    """A row a matrix: of two masks both sparsities, of more their range and the pairs' means."""
    for number, name in enumerate(masks[0]["layers"]):
        shares = [mask["layers"][name] for mask in masks]
        ends = shares if len(masks) == 2 else [min(shares), max(shares)]
        layers = [pair["layers"][number] for pair in pairs]
        if len(layers) == 1:
            numbers = _numbers(layers[0])
        else:
            means = [fmean(layer[what] for layer in layers) for what in ("jaccard", "chance")]
            numbers = (f"{means[0]:.3f}", f"{means[1]:.3f}", "")
        yield name, " … ".join(f"{share:.1%}" for share in ends), *numbers


def _show_agreement(found: Mapping[str, Any], console: Console) -> None:
    total = sum(found["weights"])
    say(console, "weights that are dead in so many of the masks, and by chance")
    rows = [
        (str(k), f"{count / total:.2%}", f"{chance / total:.2%}")
        for k, (count, chance) in enumerate(zip(found["weights"], found["expected"], strict=True))
    ]
    show_rows(("masks", "weights", "by chance"), rows, console)


def _show_fallen(mask: Mapping[str, Any], console: Console) -> None:
    from tombola.report.pages.tables import dead_heads

    inside = mask["anatomy"]
    rows = sum(each["dead_rows"] for each in inside["fallen"])
    columns = sum(each["dead_columns"] for each in inside["fallen"])
    heads = dead_heads(inside)
    told = f"{rows:,} rows and {columns:,} columns died whole"
    if inside["note"]:
        told += f"; {inside['note']}"
    else:
        named = f" ({', '.join(heads)})" if heads else ""
        told += (
            f", {len(heads)} of {len(inside['heads'])} heads{named}, "
            f"{inside['dead_neurons']:,} of {inside['neurons']:,} neurons"
        )
    say(console, f"{mask['name']}: {told}")


def show_distances(
    trained: str, pretrained: str, found: Mapping[str, float], console: Console
) -> None:
    """The relative distance of each matrix."""
    say(console, f"{trained}: |trained - pre-trained| / |pre-trained|, from {pretrained}")
    show_rows(("matrix", "distance"), ((n, f"{d:.4f}") for n, d in found.items()), console)


def show_lines(lines: Sequence[Mapping[str, Any]], console: Console, *, command: str) -> None:
    """The barriers of each line; those that are not done are empty, and the command does them."""
    say(console, "barrier: the worst network on the line against the mean of its two ends")
    rows = (
        (
            line["network"],
            line["task"],
            percent(line["sparsity"]) or "0 %",
            str(line["seed"]),
            " and ".join(map(str, line["orders"])),
            "" if line["score_barrier"] is None else f"{line['score_barrier']:.2f}",
            "" if line["loss_barrier"] is None else f"{line['loss_barrier']:.4f}",
        )
        for line in lines
    )
    columns = ("network", "task", "sparsity", "seed", "orders", "score barrier", "loss barrier")
    show_rows(columns, rows, console, texts=2)
    if missing := sum(not line["positions"] for line in lines):
        say(console, f"{missing} of {len(lines)} lines are not done: `{command}` does them.")
