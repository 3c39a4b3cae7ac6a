"""Searches, evaluations and trained networks in a terminal: scores, verdict and next steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console

from tombola.base.folders import directory_size
from tombola.base.rounding import percent, points
from tombola.base.text import counted
from tombola.cli.show.grid import Grid
from tombola.cli.show.scores import difference, score
from tombola.lab.progress.screen import say
from tombola.tasks.input_counts import InputCounts

__all__ = ["show_evaluated", "show_found", "show_trained"]


def show_found(found: Mapping[str, Any], console: Console, *, example: str) -> None:
    """Show the table of a search, its verdict, where its files are, and how to use the ticket."""
    dense, last = found["dense"], found["rounds"][-1]
    seeds = len(dense["values"])
    table = Grid(
        ("network",),
        ("sparsity", "score", "minus dense", "overlap with one-shot"),
        title=f"{found['task']}, {found['model']}: {found['metric']} on the {found['split']} "
        f"split, {counted(seeds, 'seed')}{_asked(found)}",
        frame=box.HEAVY_HEAD,
    )
    table.add("dense", "0 %", score(dense), "", "", rule=True)
    for entry in found["rounds"]:
        table.add(
            f"{found['finder']['label']} ticket",
            percent(entry["sparsity"]),
            score(entry),
            difference(entry, dense),
            "" if entry["jaccard_one_shot"] is None else f"{entry['jaccard_one_shot']:.3f}",
            rule=entry is last,
        )
    for name, entry in found["controls"].items():
        change = difference(entry, dense)
        table.add(name, percent(last["sparsity"]), score(entry), change, "")
    console.print()
    table.show(console)
    _print_more({"dense": dense, "ticket": last, **found["controls"]}, console)
    _print_verdict(found, console)
    _print_places(found, console)
    if not found["ticket"]:
        return
    console.print()
    say(console, ("use it:", "dim"))
    for line in example.splitlines():
        say(console, line)


def _asked(found: Mapping[str, Any]) -> str:
    """The knobs of the finder that are not at their default."""
    return "".join(f", {knob}" for knob in found["finder"].get("knobs", ()))


def _print_more(entries: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Show each further metric in a line; the table has the one that decides."""
    whole = {name: entry["more"] for name, entry in entries.items() if entry.get("more")}
    for metric in next(iter(whole.values()), {}):
        each = (f"{name} {points(more[metric])}" for name, more in whole.items())
        say(console, f"{metric}: {', '.join(each)}")


def _print_verdict(result: Mapping[str, Any], console: Console) -> None:
    say(console, (result["verdict"]["sentence"], "bold"))
    for note in result["notes"]:
        say(console, ("note:", "yellow"), f" {note}")


def _print_places(found: Mapping[str, Any], console: Console) -> None:
    last = found["rounds"][-1]["sparsity"]
    rows = {"texts": _texts(found)}
    if not found["ticket"]:
        rows["result"] = str(Path(found["output"]) / "result.json")
    else:
        size = directory_size(found["ticket"]) / 1000
        scope = f"{percent(last)} of the scope"
        whole = f"{percent(found['whole_model_sparsity'], digits=1)} of the whole encoder"
        rows |= {
            "ticket": f"{found['ticket']} ({size:,.0f} kB)",
            **_networks(found),
            "picture": f"{Path(found['output']) / 'scores.png'}, .svg",
            "sparsity": f"{scope}, {whole} with its embeddings",
        }
    rows |= _search(found["compute"], found["search_seconds"])
    rates = f"the learning rates of one training sum to {found['summed_learning_rate']:.3g}"
    rows["training"] = f"{found['seconds']:,.0f} s in all; {rates}"
    for name, text in rows.items():
        say(console, f"{name:9} {text}")


def _search(compute: Mapping[str, float | None], seconds: float | None) -> dict[str, str]:
    """What the search for a ticket cost, without the ticket's own training, if it was counted."""
    trainings = compute["trainings"]
    if trainings is None:
        return {}
    worth = f"{trainings:.3g} training{'' if trainings == 1 else 's'}"
    tokens = f"{compute['forward_tokens']:,.0f} forward, {compute['backward_tokens']:,.0f} backward"
    return {"search": f"cost {worth} per ticket; tokens: {tokens}; {seconds:,.0f} s"}


def _networks(found: Mapping[str, Any]) -> dict[str, str]:
    """Where the trained networks are, if they were kept."""
    places = list(found.get("networks", {}).values())
    if not places:
        return {}
    size = sum(map(directory_size, places)) / 1e6
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return {"network": f"{places[0]}{more} ({size:,.1f} MB)"}


def show_evaluated(result: Mapping[str, Any], console: Console) -> None:
    """Show the dense network and the ticket, side by side."""
    table = Grid(
        ("network",),
        ("sparsity", "score", "minus dense"),
        title=f"{result['task']}, {result['model']}: {result['metric']} on the "
        f"{result['split']} split",
        frame=box.HEAVY_HEAD,
    )
    change = difference(result["scores"], result["dense"])
    table.add("dense", "0 %", score(result["dense"]), "")
    sparsity = percent(result["sparsity"])
    table.add(f"ticket, {result['init']}", sparsity, score(result["scores"]), change)
    console.print()
    table.show(console)
    _print_more({"dense": result["dense"], "ticket": result["scores"]}, console)
    _print_verdict(result, console)
    say(console, f"texts     {_texts(result)}")


def show_trained(trained: Mapping[str, Any], console: Console) -> None:
    """Show the score of a network that was kept, where it is, and how to load it."""
    console.print()
    say(
        console,
        f"{trained['task']}, {trained['model']} at {percent(trained['sparsity'])}, seed "
        f"{trained['seed']}: {trained['metric']} ",
        (points(trained["score"]), "bold"),
        f" on the {trained['split']} split, {points(trained['trivial'])} without learning",
    )
    for name, value in trained["more"].items():
        say(console, f"{name}: {'not finite' if value is None else points(value)}")
    for note in trained["notes"]:
        say(console, ("note:", "yellow"), f" {note}")
    size = directory_size(trained["output"]) / 1e6
    rows = {
        "texts": _texts(trained),
        "network": f"{trained['output']} ({size:,.1f} MB), with its ticket in ticket/",
        "training": f"{trained['seconds']:,.0f} s",
    }
    for name, text in rows.items():
        say(console, f"{name:9} {text}")
    console.print()
    say(console, ("use it:", "dim"))
    say(console, "import tombola")
    say(console, f"trained = tombola.load({trained['output']!r})")


def _texts(result: Mapping[str, Any]) -> str:
    """What the network reads of the training split, in a line."""
    counts = result["counts"].get("train", {}).get("inputs")
    return InputCounts(**counts).sentence("train") if counts else "not counted"
