"""Finished trainings, each in a folder that is complete or absent."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save
from safetensors.torch import load_file as load_tensors

from tombola.errors import OutputError
from tombola.task.metrics import Outcome
from tombola.ticket.folder import write_file, write_folder
from tombola.ticket.mask import Mask, Shapes, pack, unpack

__all__ = ["Run", "Runs"]

FILES = ("run.json", "outcome.safetensors", "mask.safetensors")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training and what came of it."""

    score: float
    """Of the test split at the last step, in points."""
    outcome: Outcome
    """What the network made of each test example, see `tombola.task.train.evaluate`."""
    facts: dict[str, Any]
    """Steps, tokens, summed learning rate, seconds, numerics."""
    mask: Mask
    """For the next round: pruned from the trained weights, or the run's own where none follows."""


class Runs:
    """The finished trainings of one experiment, by name.

    A folder belongs to one experiment: its description is written first, and the same one is
    required ever after.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        self.folder = folder
        self.numerics: list[dict[str, Any]] = []
        """Those of the runs loaded or saved so far, in that order."""
        place = folder / "experiment.json"
        if place.is_file():
            found = _description(place)
            if found != description:
                raise OutputError(
                    f"{str(folder)!r} holds another experiment: {_difference(found, description)}. "
                    "Name another --output, or leave it out."
                )
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{str(folder)!r} holds something else. Name an empty or a new folder as --output."
            )
        write_file(place, json.dumps(description, indent=1, sort_keys=True) + "\n")

    def load(self, name: str, shapes: Shapes) -> Run | None:
        """The run of that name, or None if it is still to be done."""
        place = self.folder / "runs" / name
        if not place.is_dir():
            return None
        facts = json.loads((place / "run.json").read_text(encoding="utf-8"))
        self.numerics.append(facts["numerics"])
        return Run(
            score=facts.pop("score"),
            outcome=load_file(place / "outcome.safetensors")["outcome"],
            facts=facts,
            mask=unpack(load_tensors(place / "mask.safetensors"), shapes),
        )

    def save(self, name: str, run: Run) -> None:
        """Keep a run."""
        bits = {tensor: packed.numpy() for tensor, packed in pack(run.mask).items()}
        text = json.dumps({"score": run.score, **run.facts}, indent=1) + "\n"
        files = {
            "run.json": text.encode(),
            "outcome.safetensors": save({"outcome": run.outcome}),
            "mask.safetensors": save(bits),
        }
        write_folder(self.folder / "runs" / name, files, replaces=FILES)
        self.numerics.append(run.facts["numerics"])


def _description(place: Path) -> dict[str, Any]:
    """What an experiment.json says."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(
            f"expected an experiment in {str(place)!r}, got no JSON object. "
            "Name another --output, or leave it out."
        )
    return found


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first knob in which two experiments differ; a knob that is left out is at its default."""
    for name in sorted({*found, *wanted}):
        ours, theirs = found.get(name), wanted.get(name)
        if isinstance(ours, dict) and isinstance(theirs, dict) and ours != theirs:
            return _difference(ours, theirs)
        if ours != theirs:
            said = ["the default" if value is None else repr(value) for value in (ours, theirs)]
            return f"its {name} is {said[0]}, asked for {said[1]}"
    return "no difference"
