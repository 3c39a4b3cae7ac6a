"""The runs of a search, and its networks as a plan has them, for the numbers and the charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.report.pages.page import Number

__all__ = ["NetworkRuns", "figure_facts", "network_runs", "run_list", "search_groups"]

COLUMNS = ("network", "task", "sparsity", "seed", "score", "dense", "key")
NOT_RECORDED = "not recorded"
"""Stands for the keys of a result of an earlier version."""


class NetworkRuns:
    """One network of a search: its name, its sparsity, its scores and the places of its runs."""

    def __init__(self, name: str, sparsity: float, entry: Mapping[str, Any], first: int) -> None:
        self.name = name
        self.sparsity = sparsity
        self.entry = entry
        self.places = list(range(first, first + len(entry["values"])))

    def number(self, text: str) -> Number:
        """A number that its runs are behind."""
        return Number(text, self.places)

    @property
    def keys(self) -> Sequence[str]:
        """The keys of its runs, one for each seed."""
        return self.entry.get("keys") or [NOT_RECORDED] * len(self.places)

    @property
    def at(self) -> str:
        """Its sparsity, as text."""
        return percent(self.sparsity)


def network_runs(result: Mapping[str, Any], finder: str) -> list[NetworkRuns]:
    """Every network of a search: dense, the tickets of each round, the controls.

    Args:
        result: what `tombola find --json` prints.
        finder: what found the tickets, as labels call it.
    """
    last = float(result["rounds"][-1]["sparsity"])
    rounds = ((f"{finder} ticket", float(one["sparsity"]), one) for one in result["rounds"])
    entries = [
        ("dense", 0.0, result["dense"]),
        *rounds,
        *((name, last, one) for name, one in result["controls"].items()),
    ]
    found = list[NetworkRuns]()
    for entry in entries:
        found.append(NetworkRuns(*entry, sum(len(one.places) for one in found)))
    return found


def run_list(
    networks: Sequence[NetworkRuns], seeds: Sequence[str], result: Mapping[str, Any]
) -> dict[str, Any]:
    """The runs as a page takes them, in the order of their places."""
    rows = [
        [
            *(one.name, result["task"], one.sparsity or None, seed),
            *(score, dense, key),
        ]
        for one in networks
        for seed, score, dense, key in zip(
            seeds, one.entry["values"], result["dense"]["values"], one.keys, strict=True
        )
    ]
    return {"columns": list(COLUMNS), "rows": rows}


def search_groups(
    networks: Sequence[NetworkRuns], seeds: Sequence[str], result: Mapping[str, Any], finder: str
) -> list[dict[str, Any]]:
    """The networks as `row_facts` has those of a plan, as far as its charts need them."""
    dense, *others = networks
    return [
        {
            "plan": result["task"],
            "arm": one.name,
            "name": one.name,
            "finder": finder,
            "source": "",
            "target": result["task"],
            "sparsity": one.sparsity,
            "metric": result["metric"],
            "mean": one.entry["mean"],
            "std": one.entry["std"],
            "minus_dense": _change(one.entry["mean"], dense.entry["mean"]),
            "margin": result["verdict"]["margin"],
            "verdict": result["verdict"] if one.entry is result["rounds"][-1] else None,
            "no_verdict": "",
            "cells": len(one.places),
            "done": sum(value is not None for value in one.entry["values"]),
            "seeds": list(seeds),
            "dense": list(dense.entry["values"]),
            "runs": one.places,
            "dense_runs": dense.places,
        }
        for one in others
    ]


def figure_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `figures.paper` draws of a search.

    Args:
        facts: what `search_facts` returns.
    """
    label, seeds = facts["finder"]["label"], facts["seeds"]
    found = network_runs(facts["result"], label)
    return {"groups": search_groups(found, seeds, facts["result"], label), "transfer": []}


def _change(mean: float | None, dense: float | None) -> float | None:
    return None if mean is None or dense is None else mean - dense
