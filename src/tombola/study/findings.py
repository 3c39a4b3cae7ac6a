"""What a search or an evaluation has found, from the trainings that it left in a store."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tombola.lab.artefacts import results
from tombola.lab.numerics import refuse_mixed
from tombola.lab.search import Evaluation, Finding
from tombola.lab.store import Result, Store
from tombola.lab.work import Job, Subject
from tombola.specs import FindSpec
from tombola.study.evidence import overlap, summary, verdict
from tombola.study.verdict import hardly_learned
from tombola.task.tasks import Task

__all__ = ["SAME_MASK", "Evaluated", "Found", "evaluated_in", "found_in", "whole_model_sparsity"]

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
    """Score of a baseline that learns nothing from the texts, such as the commonest class."""
    verdict: dict[str, Any]
    """status, sparsity, interval, margin, estimand, and a sentence that says it all."""
    ticket: str
    """Folder of the ticket: the first seed's, never the best."""
    tickets: dict[str, str]
    """Seed -> folder of its ticket."""
    seconds: float
    """Time of all trainings and evaluations, whenever they were done."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps of one training."""
    whole_model_sparsity: float
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
    verdict: dict[str, Any]
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
        tickets: seed -> folder of its ticket.
        output: folder of everything.
        key: name of the experiment.

    Raises: SpecError, if its trainings have different numerics.
    """
    task, last, searches = subject.task, spec.sparsity, jobs.searches.values()
    dense = results(store, [search.dense for search in searches])
    trained = {
        sparsity: results(store, [search.trainings[sparsity] for search in searches])
        for sparsity in jobs.one_shot
    }
    controls = {name: results(store, each) for name, each in jobs.controls.items()}
    runs = [*dense, *_joined(trained.values()), *_joined(controls.values())]
    refuse_mixed([one.numerics for one in runs])
    rounds = [_round(store, jobs, sparsity, trained[sparsity]) for sparsity in trained]
    first = dense[0].facts
    return Found(
        task=task.name,
        model=spec.model,
        metric=task.metric,
        split=task.test_split,
        dense=summary(dense),
        rounds=rounds,
        controls={name: summary(each) for name, each in controls.items()},
        trivial=first["trivial"],
        verdict=verdict(store, task, dense, trained[last], last, fixed=False).to_json(),
        ticket=next(iter(tickets.values())),
        tickets=tickets,
        seconds=_seconds(runs),
        summed_learning_rate=first["summed_learning_rate"],
        whole_model_sparsity=whole_model_sparsity(trained[last][0]),
        left_out=dict(subject.left_out),
        notes=[*subject.notes, *_notes(task, dense, rounds[-1]["jaccard_one_shot"])],
        counts=_counts(subject),
        output=output,
        key=key,
    )


def _round(
    store: Store, jobs: Finding, sparsity: Decimal, runs: Sequence[Result]
) -> dict[str, Any]:
    masks: list[Job] = [search.masks[sparsity] for search in jobs.searches.values()]
    same = overlap(store, masks, [jobs.one_shot[sparsity]] * len(masks))
    return {"sparsity": f"{sparsity:f}", **summary(runs), "jaccard_one_shot": same}


def _counts(subject: Subject) -> dict[str, dict[str, Any]]:
    return {split: counts.to_json() for split, counts in subject.counts.items()}


def _joined(groups: Iterable[Sequence[Result]]) -> list[Result]:
    return [one for group in groups for one in group]


def _notes(task: Task, dense: Sequence[Result], jaccard: float) -> list[str]:
    facts = dense[0].facts
    worst = min(run.facts["score"] for run in dense)
    untrained = hardly_learned(worst, facts["trivial"], task.margin)
    notes = [f"{untrained} Train longer."] if untrained else []
    if jaccard >= SAME_MASK:
        notes.append(
            "IMP's mask is nearly that of one-shot pruning: the learning rates sum to "
            f"{facts['summed_learning_rate']:.3g}, and the two masks' dead weights have a "
            f"Jaccard index of {jaccard:.3f}. Only the score of the control one-shot tells what "
            "the search was worth; a longer or faster recipe would move the weights further."
        )
    return notes


def evaluated_in(
    store: Store,
    subject: Subject,
    jobs: Evaluation,
    *,
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
        init: what the living weights started from.
        sparsity: of the ticket.
        ticket: its folder.
        output: folder of the result.
        key: name of the experiment.

    Raises: SpecError, if its trainings have different numerics.
    """
    task = subject.task
    dense, masked = results(store, jobs.dense), results(store, jobs.masked)
    refuse_mixed([one.numerics for one in (*dense, *masked)])
    return Evaluated(
        task=task.name,
        model=subject.model,
        metric=task.metric,
        split=task.test_split,
        init=init,
        sparsity=f"{sparsity:f}",
        dense=summary(dense),
        scores=summary(masked),
        verdict=verdict(store, task, dense, masked, sparsity, fixed=True).to_json(),
        ticket=ticket,
        seconds=_seconds([*dense, *masked]),
        left_out=dict(subject.left_out),
        notes=list(subject.notes),
        counts=_counts(subject),
        output=output,
        key=key,
    )


def whole_model_sparsity(run: Result) -> float:
    """Dead weights as a fraction of the whole backbone, embeddings included."""
    dead: float = run.facts["dead"] / run.facts["backbone_size"]
    return dead


def _seconds(runs: Sequence[Result]) -> float:
    return float(sum(run.seconds for run in runs))
