"""What a search or an evaluation has found, from the trainings that it left in a store."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tombola.base.specs import FindSpec
from tombola.lab.store.numerics import refuse_mixed
from tombola.lab.store.result_store import Result, Store
from tombola.plan.job import Subject
from tombola.plan.search import Evaluation, Finding
from tombola.study.results.trainings import Runs, verdict_on
from tombola.study.verdicts.evidence import overlap
from tombola.study.verdicts.margins import Margin
from tombola.study.verdicts.verdict import LONGER, hardly_learned
from tombola.tasks.input_counts import InputCounts, SplitCounts
from tombola.tasks.task import Task

__all__ = ["SAME_MASK", "Evaluated", "Found", "evaluated_in", "found_in", "whole_model_sparsity"]

UNKNOWN = "Longer training is no help where so many tokens are unknown."

SAME_MASK = 0.95
"""Jaccard index of dead weights from which IMP's mask is called nearly that of one-shot pruning."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found; scores are in points of the metric, from the test split."""

    task: str
    model: str
    metric: str
    split: str
    dense: dict[str, Any]
    """values, mean, std, keys of the dense network, one value a seed."""
    rounds: list[dict[str, Any]]
    """sparsity, values, mean, std, keys, jaccard_one_shot after each round of pruning."""
    controls: dict[str, dict[str, Any]]
    """Control -> values, mean, std, keys at the final sparsity."""
    trivial: float
    """The best score without learning anything from the texts, such as the commonest class."""
    verdict: dict[str, Any]
    """status, sparsity, interval, margin, estimand, and a sentence that says it all."""
    margin: dict[str, Any]
    """points, and their origin: named, or rule with the dense and trivial score on dev."""
    tuned: dict[str, Any] | None
    """learning_rate, seed and the scores on dev of all rates that were tried; null if none were."""
    ticket: str
    """Folder of the ticket: the first seed's, never the best; empty where all dense networks
    diverged, so that there is nothing to prune."""
    tickets: dict[str, str]
    """Seed -> folder of its ticket."""
    seconds: float
    """Time of all trainings and evaluations, whenever they were done."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps of one training."""
    whole_model_sparsity: float | None
    """Zero weights as a fraction of the backbone, embeddings included."""
    left_out: dict[str, int]
    """Name with stars -> weights of the blocks, with two axes or more, outside of the scope."""
    notes: list[str]
    """What a reader must know to read the scores rightly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    output: str
    """Folder with everything."""
    key: str
    """Name of this experiment, from all that made it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """How one fixed ticket does on a task, with fresh seeds."""

    task: str
    model: str
    metric: str
    split: str
    init: str
    sparsity: str
    dense: dict[str, Any]
    scores: dict[str, Any]
    """values, mean, std, keys of the masked network."""
    trivial: float
    """The best score without learning anything from the texts."""
    verdict: dict[str, Any]
    margin: dict[str, Any]
    """points, and their origin: named, ticket, or rule with the dense and trivial score on dev."""
    ticket: str
    seconds: float
    left_out: dict[str, int]
    """Name with stars -> weights of the blocks, with two axes or more, outside of the scope."""
    notes: list[str]
    """What a reader must know to read the scores rightly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    output: str
    key: str

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them."""
        return dataclasses.asdict(self)


def found_in(
    store: Store,
    subject: Subject,
    spec: FindSpec,
    jobs: Finding,
    *,
    margin: Margin,
    tuned: dict[str, Any] | None,
    tickets: dict[str, str],
    output: str,
    key: str,
) -> Found:
    """What a search has found.

    Args:
        store: in which all its jobs are done.
        subject: what was trained.
        spec: of the search.
        jobs: of the search.
        margin: of its task.
        tuned: how the learning rate was chosen, if it was.
        tickets: seed -> folder of its ticket.
        output: folder of everything.
        key: name of the experiment.

    Raises: SpecError, if its trainings have different numerics.
    """
    last, searches = spec.sparsity, jobs.searches.values()
    task = replace(subject.task, margin=margin.points, by_rule=False)
    dense = Runs.of(store, [search.dense for search in searches])
    trained = {
        sparsity: Runs.of(store, [search.trainings[sparsity] for search in searches])
        for sparsity in jobs.one_shot
    }
    controls = {name: Runs.of(store, each) for name, each in jobs.controls.items()}
    runs = [one for each in (dense, *trained.values(), *controls.values()) for one in each.there]
    refuse_mixed([one.numerics for one in runs])
    rounds = [_round(store, jobs, sparsity, trained[sparsity]) for sparsity in trained]
    first, pruned = dense.there[0].facts, trained[last].there
    counts = _counts(subject, first)
    return Found(
        task=task.name,
        model=spec.model,
        metric=task.metric,
        split=task.test_split,
        dense=dense.summary(),
        rounds=rounds,
        controls={name: each.summary() for name, each in controls.items()},
        trivial=first["trivial"],
        verdict=verdict_on(store, task, dense, trained[last], last, fixed=False),
        ticket=next(iter(tickets.values()), ""),
        tickets=tickets,
        seconds=_seconds(runs),
        summed_learning_rate=first["summed_learning_rate"],
        whole_model_sparsity=whole_model_sparsity(pruned[0]) if pruned else None,
        margin=margin.to_json(),
        tuned=tuned,
        left_out=dict(subject.left_out),
        notes=[
            *subject.notes,
            *margin.notes,
            *_notes(task, dense, counts),
            *_same_mask(first, rounds[-1]["jaccard_one_shot"]),
        ],
        counts=counts,
        output=output,
        key=key,
    )


def _round(store: Store, jobs: Finding, sparsity: Decimal, runs: Runs) -> dict[str, Any]:
    masks = [search.masks[sparsity] for search in jobs.searches.values()]
    masks = [mask for mask in masks if store.has(mask.key)]
    same = overlap(store, masks, [jobs.one_shot[sparsity]] * len(masks)) if masks else None
    return {"sparsity": f"{sparsity:f}", **runs.summary(), "jaccard_one_shot": same}


def _counts(subject: Subject, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of rows, as they were read, and of inputs, as the training of these facts has read them."""
    inputs = facts.get("inputs", {})
    return {
        split: replace(counts, inputs=_inputs(inputs.get(split))).to_json()
        for split, counts in {
            **{name: SplitCounts() for name in inputs},
            **subject.counts,
        }.items()
    }


def _inputs(counted: Mapping[str, Any] | None) -> InputCounts | None:
    return None if counted is None else InputCounts(**counted)


def _notes(task: Task, dense: Runs, counts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What must be known of what was read, and of what dense has learned from it."""
    read = {split: _inputs(each["inputs"]) for split, each in counts.items()}
    remarks = [note for split, each in read.items() if each for note in each.remarks(split)]
    if dense.diverged:
        return remarks
    worst = min(run.facts["score"] for run in dense.there)
    advice = UNKNOWN if any(each and each.much_unknown for each in read.values()) else LONGER
    untrained = hardly_learned(worst, dense.there[0].facts["trivial"], task.margin, advice)
    return [untrained, *remarks] if untrained else remarks


def _same_mask(facts: Mapping[str, Any], jaccard: float | None) -> list[str]:
    if jaccard is None or jaccard < SAME_MASK:
        return []
    return [
        "IMP's mask is nearly that of one-shot pruning: the learning rates sum to "
        f"{facts['summed_learning_rate']:.3g}, and the two masks' dead weights have a "
        f"Jaccard index of {jaccard:.3f}. Only the score of the control one-shot tells what "
        "the search was worth; a longer or faster recipe would move the weights further."
    ]


def evaluated_in(
    store: Store,
    subject: Subject,
    jobs: Evaluation,
    *,
    margin: Margin,
    init: str,
    sparsity: Decimal,
    ticket: str,
    output: str,
    key: str,
) -> Evaluated:
    """What an evaluation has found.

    Args:
        store: in which all its jobs are done.
        subject: what was trained.
        jobs: of the evaluation.
        margin: of its task.
        init: what the living weights started from.
        sparsity: of the ticket.
        ticket: its folder.
        output: folder of the result.
        key: name of the experiment.

    Raises: SpecError, if its trainings have different numerics.
    """
    task = replace(subject.task, margin=margin.points, by_rule=False)
    dense, masked = Runs.of(store, jobs.dense), Runs.of(store, jobs.masked)
    refuse_mixed([one.numerics for one in (*dense.there, *masked.there)])
    counts = _counts(subject, dense.there[0].facts)
    return Evaluated(
        task=task.name,
        model=subject.model,
        metric=task.metric,
        split=task.test_split,
        init=init,
        sparsity=f"{sparsity:f}",
        dense=dense.summary(),
        scores=masked.summary(),
        trivial=dense.there[0].facts["trivial"],
        verdict=verdict_on(store, task, dense, masked, sparsity, fixed=True),
        margin=margin.to_json(),
        ticket=ticket,
        seconds=_seconds([*dense.there, *masked.there]),
        left_out=dict(subject.left_out),
        notes=[*subject.notes, *margin.notes, *_notes(task, dense, counts)],
        counts=counts,
        output=output,
        key=key,
    )


def whole_model_sparsity(run: Result) -> float:
    """Dead weights as a fraction of the whole backbone, embeddings included."""
    dead: float = run.facts["dead"] / run.facts["backbone_size"]
    return dead


def _seconds(runs: Sequence[Result]) -> float:
    return float(sum(run.seconds for run in runs))
