"""Counts of the inputs that were read, and the notes that a reader of the scores needs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tombola.plan.subject import Subject
from tombola.study.results.trainings import Trainings
from tombola.study.verdicts.verdict import LONGER, hardly_learned
from tombola.tasks.input_counts import InputCounts, SplitCounts
from tombola.tasks.task import Task

__all__ = ["SAME_MASK", "counts_by_split", "input_notes", "learning_notes", "same_mask_notes"]

UNKNOWN = "Longer training is no help where this many tokens are unknown."

SAME_MASK = 0.95
"""Jaccard index of pruned weights from which a mask counts as nearly that of one-shot pruning."""


def counts_by_split(subject: Subject, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Split -> counts of its rows, and of its inputs as the training with these facts read them."""
    inputs = facts.get("inputs", {})
    known = {**{split: SplitCounts() for split in inputs}, **subject.counts}
    return {
        split: replace(counts, inputs=_inputs(inputs.get(split))).to_json()
        for split, counts in known.items()
    }


def _inputs(counted: Mapping[str, Any] | None) -> InputCounts | None:
    return None if counted is None else InputCounts(**counted)


def learning_notes(
    task: Task, dense: Trainings, counts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Notes on inputs that were cut or unknown, and on a dense network that hardly learned."""
    inputs = [_inputs(each["inputs"]) for each in counts.values()]
    remarks = input_notes(counts)
    if dense.diverged:
        return remarks
    worst = min(run.facts["score"] for run in dense.done)
    advice = UNKNOWN if any(each and each.much_unknown for each in inputs) else LONGER
    unlearned = hardly_learned(worst, dense.done[0].facts["trivial"], task.margin, advice)
    return [unlearned, *remarks] if unlearned else remarks


def input_notes(counts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Notes on inputs that were cut or unknown."""
    inputs = {split: _inputs(each["inputs"]) for split, each in counts.items()}
    return [note for split, each in inputs.items() if each for note in each.remarks(split)]


def same_mask_notes(
    finder: str, jaccard: float | None, *, summed_learning_rate: float | None
) -> list[str]:
    """A note where a finder's mask is nearly that of one-shot pruning, though scores may not be.

    Args:
        finder: its label.
        jaccard: the Jaccard index of the two masks' pruned weights, if it is known.
        summed_learning_rate: the summed learning rate of the training that the mask depends on;
            None if it depends on none.
    """
    if jaccard is None or jaccard < SAME_MASK:
        return []
    rates = advice = ""
    if summed_learning_rate is not None:
        rates = f"the learning rates sum to {summed_learning_rate:.3g}, and "
        advice = " A longer or faster recipe would move the weights further."
    return [
        f"{finder}'s mask is nearly that of one-shot pruning: {rates}the two masks' pruned weights "
        f"have a Jaccard index of {jaccard:.3f}. Their scores can still differ widely; compare "
        f"with the `one-shot` control.{advice}"
    ]
