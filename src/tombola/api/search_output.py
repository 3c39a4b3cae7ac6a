"""The output of a search whose jobs are done: its tickets, the picture and the result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tombola.api.experiment import Experiment
from tombola.api.network_folder import NetworkWriter, saved_network
from tombola.base.files import write_file
from tombola.base.json_text import json_text
from tombola.base.keys import changed_knobs
from tombola.base.specs import FindSpec, PruneSpec
from tombola.finders.finder import FINDERS
from tombola.finders.rewind import RewindSpec
from tombola.lab.options import FindOptions
from tombola.lab.starting_ticket import Start
from tombola.lab.store.artifacts import read_mask, results
from tombola.lab.store.result_store import Store
from tombola.lab.ticket_origin import origin_fields
from tombola.lab.tuning import Tuned
from tombola.models.embedded import lasting_name
from tombola.plan.job import Job
from tombola.plan.plan import Search
from tombola.plan.search import Finding
from tombola.plan.subject import Subject
from tombola.study.results.search_result import (
    SearchResult,
    build_search_result,
    whole_model_sparsity,
)
from tombola.study.results.training_result import build_training_result
from tombola.study.table.margins import Margin
from tombola.ticket.ticket import Ticket

__all__ = ["SearchOutput", "network_of"]


def network_of(folder: Path, seed: int) -> Path:
    """The folder of a seed's trained network in the output of a search."""
    return folder / f"network-seed-{seed}"


@dataclass(frozen=True)
class SearchOutput:
    """A search whose jobs are done."""

    store: Store
    subject: Subject
    asked: FindOptions
    jobs: Finding
    margin: Margin
    tuned: Tuned | None
    experiment: Experiment
    keep_weights: bool = False
    start: Start | None = None

    def write(self) -> SearchResult:
        """Write tickets, picture and result to the output folder."""
        folder = self.experiment.output.open()
        found = build_search_result(
            self.store,
            self.subject,
            self.asked.search,
            self.jobs,
            margin=self.margin,
            tuned=self.tuned.to_json() if self.tuned else None,
            output=folder,
            key=self.experiment.key,
        )
        tickets = self._tickets(found.verdict)
        places = {seed: folder / f"ticket-seed-{seed}" for seed in tickets}
        for seed, ticket in tickets.items():
            ticket.save(places[seed])
        found = replace(
            found,
            tickets=places,
            networks=self._networks(folder, tickets) if self.keep_weights else {},
        )
        if any(value is not None for value in found.dense["values"]):
            from tombola.report.figures import score_curve  # whose library is slow to import

            score_curve.save(found.to_json(), folder, found.finder["label"])
        write_file(folder / "result.json", json_text(found.to_json()))
        return found

    def _tickets(self, verdict: Mapping[str, Any]) -> dict[int, Ticket]:
        """Seed -> its ticket; none for a seed under which the search diverged."""
        return {
            seed: self._ticket(one, verdict)
            for seed, one in self.jobs.searches.items()
            if self.store.has(self._last(one).key)
        }

    def _last(self, one: Search) -> Job:
        """The training of the final ticket."""
        return one.trainings[self.asked.prune.sparsity]

    def _networks(self, folder: Path, tickets: Mapping[int, Ticket]) -> dict[int, Path]:
        """Seed -> folder of the network that its ticket was trained to; none that diverged."""
        writer = NetworkWriter(self.store, self.subject)
        networks: dict[int, Path] = {}
        for seed, ticket in tickets.items():
            job, place = self._last(self.jobs.searches[seed]), network_of(folder, seed)
            (run,) = results(self.store, [job])
            if run.diverged is not None:
                continue
            if saved_network(place, job.key) is None:
                start = job.parents.get("start")
                trained = build_training_result(
                    self.subject,
                    run,
                    init=start.label if start else "pretrained",
                    sparsity=ticket.sparsity,
                    output=place,
                )
                writer.write(trained, ticket, place)
            networks[seed] = place
        return networks

    def _ticket(self, one: Search, verdict: Mapping[str, Any]) -> Ticket:
        """The ticket of one seed."""
        spec, prune = self.asked.search, self.asked.prune
        (masked,) = results(self.store, [self._last(one)])
        return Ticket(
            mask=read_mask(self.store, one.masks[prune.sparsity].key),
            model=lasting_name(spec.model),
            fingerprint=self.subject.fingerprint,
            scope=spec.scope,
            sparsity=prune.sparsity,
            **_schedule(prune),
            task=self.subject.task.name,
            seed=masked.facts["seed"],
            scores=FINDERS[spec.finder].scores,
            provenance={**self._provenance(one), **_over_seeds(verdict)},
        )

    def _provenance(self, one: Search) -> dict[str, Any]:
        """What the ticket says of the search, the scores and the recipe."""
        dense, masked = results(self.store, [one.dense, self._last(one)])
        return {
            "metric": self.subject.task.metric,
            "whole_model_sparsity": whole_model_sparsity(masked),
            "dense": dense.facts["score"],
            "ticket": masked.facts["score"],
            "numerics": masked.numerics,
            "key": masked.key,
            **origin_fields(self.subject, margin=self.margin.points),
            **({"tuned": self.tuned.to_json()} if self.tuned else {}),
            **_finder(self.asked),
            **(self.start.described() if self.start else {}),
            **({"budget": self.asked.search.budget} if self.asked.search.budget else {}),
        }


def _over_seeds(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What a ticket says of the tickets of all seeds: the mean difference from dense, its interval
    in points and the interval's level; nothing after a single seed."""
    if verdict["seeds"] < 2 or verdict["interval"] is None:
        return {}
    return {name: verdict[name] for name in ("difference", "interval", "level", "seeds")}


def _schedule(spec: PruneSpec) -> dict[str, Any]:
    """How the sparsity rose, where it did so by a schedule."""
    if not isinstance(spec, RewindSpec) or spec.rounds:
        return {}
    return {"schedule": spec.schedule, "step": spec.step}


def _finder(asked: FindOptions) -> dict[str, Any]:
    """What a ticket says of its finder: rounds, for the default one; name and knobs of others."""
    if asked.search.finder != FindSpec.finder:
        return {"finder": asked.search.finder, "knobs": changed_knobs(asked.prune)}
    rounds = changed_knobs(asked.prune).get("rounds", ())
    return {"rounds": list(rounds)} if rounds else {}
