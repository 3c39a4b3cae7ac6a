"""Overlaps, distances and connectivity in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console

from tombola.base.rounding import percent
from tombola.base.text import counted
from tombola.cli.show.grid import show_rows
from tombola.lab.progress.screen import say

__all__ = ["show_distances", "show_lines", "show_overlap"]


def show_overlap(found: Mapping[str, Any], console: Console) -> None:
    """Show the overlap of every pair and matrix, compared with chance, and what is pruned whole."""
    masks, pairs = found["masks"], found["pairs"]
    say(
        console,
        "Jaccard index of the pruned weights; chance: as many in each matrix, pruned at random",
    )
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
        _show_pruned_whole(mask, console)


def _numbers(pair: Mapping[str, Any]) -> tuple[str, str, str]:
    z = "" if pair["z"] is None else f"{pair['z']:+z,.1f}"
    return f"{pair['jaccard']:.3f}", f"{pair['chance']:.3f}", z


def _layers(
    masks: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[str, ...]]:
    """A row for each matrix: of two masks both sparsities, of more the range and the means."""
    for number, name in enumerate(masks[0]["layers"]):
        shares = [mask["layers"][name] for mask in masks]
        ends = shares if len(masks) == 2 else [min(shares), max(shares)]
        layers = [pair["layers"][number] for pair in pairs]
        if len(layers) == 1:
            numbers = _numbers(layers[0])
        else:
            means = [fmean(layer[what] for layer in layers) for what in ("jaccard", "chance")]
            numbers = (f"{means[0]:.3f}", f"{means[1]:.3f}", "")
        yield name, " … ".join(percent(share, digits=1) for share in ends), *numbers


def _show_agreement(found: Mapping[str, Any], console: Console) -> None:
    total = sum(found["weights"])
    say(console, "share of the weights that this many masks prune, and by chance")
    rows = [
        (str(k), percent(count / total, digits=2), percent(chance / total, digits=2))
        for k, (count, chance) in enumerate(zip(found["weights"], found["expected"], strict=True))
    ]
    show_rows(("masks", "weights", "by chance"), rows, console)


def _show_pruned_whole(mask: Mapping[str, Any], console: Console) -> None:
    inside = mask["anatomy"]
    rows = sum(each["pruned_rows"] for each in inside["fully_pruned"])
    columns = sum(each["pruned_columns"] for each in inside["fully_pruned"])
    heads = inside["pruned_heads"]
    text = f"pruned whole: {counted(rows, 'row')}, {counted(columns, 'column')}"
    if inside["note"]:
        text += f"; {inside['note']}"
    else:
        named = f" ({', '.join(heads)})" if heads else ""
        text += (
            f", {len(heads)} of {len(inside['heads'])} heads{named}, "
            f"{inside['pruned_neurons']:,} of {inside['neurons']:,} neurons"
        )
    say(console, f"{mask['name']}: {text}")


def show_distances(
    trained: str, pretrained: str, found: Mapping[str, float], console: Console
) -> None:
    """Show the relative distance of each matrix."""
    say(console, f"{trained}: |trained - pre-trained| / |pre-trained|, from {pretrained}")
    show_rows(("matrix", "distance"), ((n, f"{d:.4f}") for n, d in found.items()), console)


def show_lines(lines: Sequence[Mapping[str, Any]], console: Console, *, command: str) -> None:
    """Show the barriers of each line, and the command that does the missing ones."""
    say(console, "barrier: the worst network on the line, compared with the mean of its two ends")
    rows = (
        (
            line["network"],
            line["task"],
            percent(line["sparsity"] or 0),
            str(line["seed"]),
            " and ".join(map(str, line["orders"])),
            "" if line["score_barrier"] is None else f"{line['score_barrier']:.2f}",
            "" if line["loss_barrier"] is None else f"{line['loss_barrier']:.4f}",
        )
        for line in lines
    )
    columns = (
        "network",
        "task",
        "sparsity",
        "seed",
        "orders",
        "score barrier",
        "loss barrier",
    )
    show_rows(columns, rows, console, texts=2)
    if missing := sum(not line["positions"] for line in lines):
        say(
            console,
            f"{missing} of {counted(len(lines), 'line')} not done: `{command}` does the rest.",
        )
