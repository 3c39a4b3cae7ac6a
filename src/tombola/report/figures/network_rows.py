"""The networks of some plans as rows of data, for charts on a page and on paper."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tombola.report.figures.networks import look_at

__all__ = ["baselines", "networks"]


def networks(groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each pruned network, with the look that it has in every chart."""
    mine = [
        group
        for group in groups
        if group["sparsity"] is not None and group["source"] in ("", group["target"])
    ]
    names: dict[str, int] = {}
    for group in mine:
        names.setdefault(_name(group), len(names))
    return [_network(group, *look_at(names[_name(group)])) for group in mine]


def _name(group: Mapping[str, Any]) -> str:
    """The arm, and what was trained where that is not its finder's ticket."""
    arm, name = group["arm"], group["name"]
    return arm if arm == name else f"{arm}: {name}"


def _network(
    group: Mapping[str, Any], colour: int, shape: str, dash: Sequence[int]
) -> dict[str, Any]:
    verdict = group["verdict"] or {}
    return {
        "plan": group["plan"],
        "task": group["target"],
        "network": _name(group),
        "finder": group["finder"] or group["name"],
        "sparsity": float(group["sparsity"]),
        "score": group["mean"],
        "sd": group["std"],
        "minus": group["minus_dense"],
        "interval": verdict.get("interval"),
        "metric": group["metric"],
        "margin": group["margin"],
        "cells": group["cells"],
        "done": group["done"],
        "verdict": verdict.get("status") or group["no_verdict"],
        "runs": [*group["runs"], *group["dense_runs"]],
        "colour": colour,
        "shape": shape,
        "dash": dash,
    }


def baselines(groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean score of dense and the margin, of each plan and task."""
    scores: dict[tuple[str, str], dict[int, float]] = {}
    margins: dict[tuple[str, str], float | None] = {}
    for group in groups:
        place = (group["plan"], group["target"])
        margins[place] = group["margin"]
        known = scores.setdefault(place, {})
        pairs = zip(group["seeds"], group["dense"], strict=True)
        known.update({seed: score for seed, score in pairs if score is not None})
    return [
        {
            "plan": plan,
            "task": task,
            "score": fmean(known.values()) if known else None,
            "margin": margins[plan, task],
        }
        for (plan, task), known in scores.items()
    ]
