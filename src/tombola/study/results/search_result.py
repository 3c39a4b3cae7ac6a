"""The result of a search, from its trainings in a store."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

from tombola.base.errors import SpecError, TrainingDivergedError
from tombola.base.specs import FindSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run.compute import compute_of, search_compute, total_compute
from tombola.lab.store.artifacts import has_mask
from tombola.lab.store.numerics import refuse_mixed
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import finder_knobs
from tombola.plan.search import Finding
from tombola.plan.subject import Subject
from tombola.study.results.notebook import NotebookResult
from tombola.study.results.notes import counts_by_split, learning_notes, same_mask_notes
from tombola.study.results.result_file import (
    FinderRecord,
    RoundRecord,
    ScoresRecord,
    VerdictRecord,
)
from tombola.study.results.trainings import Trainings, mean_jaccard, verdict_on
from tombola.study.table.margins import Margin

__all__ = ["SearchResult", "build_search_result", "whole_model_sparsity"]


@dataclass(frozen=True, kw_only=True, repr=False)
class SearchResult(NotebookResult):
    """What a search found; scores are in points of the metric, from the test split.

    Where a ticket or its folder is expected, the result of a search with one seed will do.
    """

    finder: FinderRecord
    """name and label of the finder, and knobs of the mask that are not at their default."""
    task: str
    model: str
    metric: str
    split: str
    seeds: list[int]
    """The seed of each value below."""
    dense: ScoresRecord
    """values, mean, std, keys of the dense network, one value a seed."""
    rounds: list[RoundRecord]
    """sparsity, values, mean, std, keys, jaccard_one_shot after each round of pruning."""
    controls: dict[str, ScoresRecord]
    """Control -> values, mean, std, keys at the final sparsity."""
    trivial: float
    """The best score without learning anything from the texts, such as the commonest class."""
    verdict: VerdictRecord
    """status, sparsity, interval, margin, estimand, and a sentence that says it all."""
    margin: dict[str, Any]
    """points, and their origin: named, or rule with the dense and trivial score on dev."""
    tuned: dict[str, Any] | None
    """learning_rate, seed and the scores on dev of all rates that were tried; null if none were."""
    tickets: dict[int, Path]
    """Seed -> folder of its ticket; none for a seed under which the search diverged."""
    networks: dict[int, Path]
    """Seed -> folder of its trained network, if they were asked for."""
    compute: dict[str, float | None]
    """forward_tokens and backward_tokens of the search for the final ticket, the mean over seeds,
    and its cost in trainings of the dense network; null where an earlier version did a part of it
    without counting."""
    search_seconds: float | None
    """Time of that search, the mean over seeds; null in the same cases."""
    seconds: float
    """Time of all trainings and evaluations, whenever they were done."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps of one training."""
    whole_model_sparsity: float | None
    """Zero weights as a fraction of the backbone, embeddings included."""
    left_out: dict[str, int]
    """Name with stars -> weights of the blocks, with two axes or more, outside of the scope."""
    notes: list[str]
    """What a reader must know to read the scores correctly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    output: Path
    """Folder with everything."""
    key: str
    """Name of this experiment, from all that made it."""

    @property
    def ticket(self) -> Path:
        """Folder of the ticket: the first seed's, never the best.

        Raises: TrainingDivergedError, if the search diverged under every seed.
        """
        if not self.tickets:
            raise TrainingDivergedError(
                "expected a result with a ticket, got one whose searches all diverged. "
                "Search again with a lower learning rate."
            )
        return next(iter(self.tickets.values()))

    def __fspath__(self) -> str:
        """The folder of the ticket, so that the result of one seed stands for its ticket.

        Raises: SpecError, if there are several tickets; TrainingDivergedError, if there is none.
        """
        if len(self.tickets) <= 1:
            return str(self.ticket)
        seeds = ", ".join(map(str, self.tickets))
        raise SpecError(
            f"expected a result with one ticket, got one with tickets of the seeds {seeds}. Choose "
            f"one: `found.ticket` is the first, `found.tickets[{[*self.tickets][-1]}]` the last."
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the ticket, as `--json` writes them; `networks` where there are any."""
        written: dict[str, Any] = {}
        for name, value in super().to_json().items():
            if name == "tickets":
                written["ticket"] = next(iter(value.values()), "")
            if name != "networks" or value:
                written[name] = value
        return written


def build_search_result(
    store: Store,
    subject: Subject,
    spec: FindSpec,
    jobs: Finding,
    *,
    margin: Margin,
    tuned: dict[str, Any] | None,
    output: Path,
    key: str,
) -> SearchResult:
    """The result of a search whose jobs are all done, before its tickets are written.

    Args:
        tuned: how the learning rate was chosen, if it was.

    Raises: SpecError, if its trainings have different numerics.
    """
    task = replace(subject.task, margin=margin.points, by_rule=False)
    trainings = _SearchTrainings.of(store, jobs)
    dense, rounds = trainings.dense, trainings.rounds(store, jobs)
    sparsity, last = max(trainings.by_sparsity.items())
    counts = counts_by_split(subject, trainings.facts)
    verdict = verdict_on(store, task, dense, last, sparsity, fixed=jobs.fixed)
    notes = [*subject.notes, *margin.notes, *learning_notes(task, dense, counts)]
    return SearchResult(
        finder=_finder(spec, jobs, sparsity),
        task=task.name,
        model=spec.model,
        metric=task.metric,
        split=task.test_split,
        seeds=[*jobs.searches],
        dense=dense.summary(),
        rounds=rounds,
        controls={name: each.summary() for name, each in trainings.controls.items()},
        **{name: trainings.facts[name] for name in ("trivial", "summed_learning_rate")},
        verdict=cast("VerdictRecord", verdict.to_json()),
        margin=margin.to_json(),
        tuned=tuned,
        tickets={},
        networks={},
        **_searched(store, jobs, sparsity),
        seconds=float(sum(run.seconds for run in trainings.runs)),
        whole_model_sparsity=whole_model_sparsity(last.done[0]) if last.done else None,
        left_out=dict(subject.left_out),
        notes=[*notes, *_same_mask_notes(jobs, spec, trainings.facts, rounds[-1])],
        counts=counts,
        output=output,
        key=key,
    )


def _finder(spec: FindSpec, jobs: Finding, sparsity: Decimal) -> FinderRecord:
    """The finder, with its knobs of the final masks, which all seeds share."""
    knobs = finder_knobs(next(iter(jobs.searches.values())).masks[sparsity])
    finder = FINDERS[spec.finder]
    return {"name": finder.name, "label": finder.label, "knobs": [*knobs]}


def _searched(store: Store, jobs: Finding, sparsity: Decimal) -> dict[str, Any]:
    """The fields of what the searches for the final masks computed, each on average."""
    read, searches = cache(store.read), jobs.searches.values()
    found = total_compute(search_compute(one.trainings[sparsity], read) for one in searches)
    dense = total_compute(compute_of(read(one.dense.key)) for one in searches)
    if found is None:
        unknown = dict.fromkeys(("forward_tokens", "backward_tokens", "trainings"))
        return {"compute": unknown, "search_seconds": None}
    compute = {
        "forward_tokens": found.forward_tokens / len(searches),
        "backward_tokens": found.backward_tokens / len(searches),
        "trainings": found.in_units_of(dense),
    }
    return {"compute": compute, "search_seconds": found.seconds / len(searches)}


def _same_mask_notes(
    jobs: Finding, spec: FindSpec, facts: Mapping[str, Any], last: Mapping[str, Any]
) -> list[str]:
    """A note where the last masks are nearly those of one-shot pruning, but not the same jobs."""
    sparsity = Decimal(last["sparsity"])
    masks = [search.masks[sparsity] for search in jobs.searches.values()]
    if any(mask.key == jobs.one_shot[sparsity].key for mask in masks):
        return []
    trained = any(mask.follows_training for mask in masks)
    rates = facts["summed_learning_rate"] if trained else None
    return same_mask_notes(
        FINDERS[spec.finder].label, last["jaccard_one_shot"], summed_learning_rate=rates
    )


@dataclass(frozen=True, kw_only=True)
class _SearchTrainings:
    """The trainings of a search, of all seeds."""

    dense: Trainings
    by_sparsity: dict[Decimal, Trainings]
    controls: dict[str, Trainings]

    @classmethod
    def of(cls, store: Store, jobs: Finding) -> "_SearchTrainings":
        """The trainings in a store; refuses those that were not done with the same numerics."""
        searches = jobs.searches.values()
        found = cls(
            dense=Trainings.of(store, [search.dense for search in searches]),
            by_sparsity={
                sparsity: Trainings.of(store, [search.trainings[sparsity] for search in searches])
                for sparsity in jobs.one_shot
            },
            controls={name: Trainings.of(store, each) for name, each in jobs.controls.items()},
        )
        refuse_mixed([run.numerics for run in found.runs])
        return found

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the first dense training."""
        return self.dense.done[0].facts

    @property
    def runs(self) -> list[Result]:
        """Every result, once for each place that it has."""
        each = (self.dense, *self.by_sparsity.values(), *self.controls.values())
        return [run for trainings in each for run in trainings.done]

    def rounds(self, store: Store, jobs: Finding) -> list[RoundRecord]:
        """The entry of each round of pruning, lowest sparsity first."""
        found: list[RoundRecord] = []
        for sparsity, trainings in self.by_sparsity.items():
            masks = [search.masks[sparsity] for search in jobs.searches.values()]
            masks = [mask for mask in masks if has_mask(store, mask.key)]
            one_shot = [jobs.one_shot[sparsity]] * len(masks)
            same = mean_jaccard(store, masks, one_shot) if masks else None
            scores = trainings.summary()
            found.append({"sparsity": f"{sparsity:f}", **scores, "jaccard_one_shot": same})
        return found


def whole_model_sparsity(run: Result) -> float:
    """Pruned weights as a fraction of the whole backbone, embeddings included."""
    sparsity: float = run.facts["dead"] / run.facts["backbone_size"]
    return sparsity
