"""What a notebook and an interpreter show of a result: a line, and a table."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tombola.base.json_text import plain
from tombola.base.rounding import mean_sd, percent, points
from tombola.base.text import counted, html_table, html_text, printable

__all__ = ["NotebookResult", "result_html", "result_line"]

HEADING = ("network", "sparsity", "score", "minus dense")


@dataclass(frozen=True, repr=False)
class NotebookResult:
    """A result whose fields are its JSON; an interpreter shows it as a line, a notebook as HTML."""

    def __repr__(self) -> str:
        return result_line(type(self).__name__, self.to_json())

    def _repr_html_(self) -> str:
        """Scores, verdict and notes, for notebooks."""
        return result_html(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them."""
        fields: dict[str, Any] = plain(dataclasses.asdict(self))
        return fields


def result_line(kind: str, result: Mapping[str, Any]) -> str:
    """A result in one line.

    Args:
        kind: name of its class.
        result: its fields, as JSON has them.
    """
    seeds = len(result["dense"]["values"])
    return printable(
        f"<{kind}: {result['task']} on {result['model']}, {counted(seeds, 'seed')}; "
        f"{result['verdict']['sentence']} Folder: {result['output']}>"
    )


def result_html(result: Mapping[str, Any]) -> str:
    """Scores, verdict and notes of a search or an evaluation.

    Args:
        result: its fields, as JSON has them.
    """
    dense = result["dense"]
    rows = [("dense", percent(0), _score(dense), "")]
    rows += [
        (name, percent(sparsity), _score(entry), _minus(entry, dense))
        for name, sparsity, entry in _networks(result)
    ]
    caption = f"{result['task']}, {result['model']}: {result['metric']} on {result['split']}"
    lines = [f"<b>{html_text(result['verdict']['sentence'])}</b>"]
    lines += [html_text(note) for note in result["notes"]]
    return html_table(rows, heading=HEADING, caption=caption) + "".join(
        f"<p>{line}</p>" for line in lines
    )


def _networks(result: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Name, sparsity and scores of each pruned network."""
    if "rounds" not in result:
        return [("ticket", result["sparsity"], result["scores"])]
    last = result["rounds"][-1]["sparsity"]
    rounds = [("ticket", each["sparsity"], each) for each in result["rounds"]]
    return rounds + [(name, last, entry) for name, entry in result["controls"].items()]


def _score(entry: Mapping[str, Any]) -> str:
    return "diverged" if entry["mean"] is None else mean_sd(entry["mean"], entry["std"])


def _minus(entry: Mapping[str, Any], dense: Mapping[str, Any]) -> str:
    if entry["mean"] is None or dense["mean"] is None:
        return ""
    return points(entry["mean"] - dense["mean"], signed=True)
