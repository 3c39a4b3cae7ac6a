"""A search: train, prune, rewind, again; then the controls, the tickets and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tombola.api.experiment import Experiment, describe, finished, margin_after, stored_in
from tombola.base.files import write_file
from tombola.base.json_text import json_text
from tombola.base.keys import knobs
from tombola.base.specs import TUNE, FindSpec, LabSpec, PruneSpec
from tombola.finders.finder import FINDERS
from tombola.finders.rewind import RewindSpec
from tombola.lab.options import FindOptions, find_options
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask, results
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import Subjects
from tombola.lab.ticket_origin import origin_fields
from tombola.lab.tuning import Tuned, tuning
from tombola.models.embedded import lasting_name
from tombola.plan.job_spec import train_revisions
from tombola.plan.plan import Search, Subject
from tombola.plan.search import Finding, finding
from tombola.study.results.search_result import Found, found_in, whole_model_sparsity
from tombola.study.table.margins import Margin
from tombola.ticket.ticket import Ticket

__all__ = ["search"]

VERSION = 1
"""Raised when the same knobs come to mean something else."""

REVISED_CONTROLS = ("layer-random", "shuffle-layers")
"""Controls that were computed otherwise in the first version."""


def search(
    options: Mapping[str, Any], *, output: Path | None, data: str | None, callback: RunCallback
) -> Found:
    """Find a ticket.

    Args:
        options: fields of `FindSpec`, `TaskSpec`, `TrainSpec` and `LabSpec` that were given.
        output: folder for the result; None is one under `runs/`, named by the experiment.
        data: where the task's files are, if not where it says.
        callback: called as the jobs run.

    Raises: TombolaError, if an option, the model or the data are not usable; JobFailedError, if a
        training fails for another reason.
    """
    asked = find_options(options)
    spec, lab = asked.search, asked.lab
    finder = FINDERS[spec.finder]
    known, tuned = Subjects(Path(lab.store)), None
    subject = known.subject(spec.model, asked.task, asked.recipe, scope=spec.scope, folder=data)
    if options.get("learning_rate") == TUNE:
        tuned = _tuned(known.with_dev(subject), spec, lab, callback)
        recipe = replace(subject.recipe, learning_rate=tuned.learning_rate)
        subject = replace(subject, recipe=recipe)
    experiment = _experiment(subject, asked, output)
    jobs = finding(
        subject, spec, asked.prune.sparsity, lambda seed: finder.search(subject, asked.prune, seed)
    )
    callback.subject(subject)
    store = finished(*run_plan(jobs.plan, lab, callback))
    known.save()
    margin = margin_after(asked.task, store, jobs.scoring)
    with stored_in(store):
        return _Finished(store, subject, asked, jobs, margin, tuned, experiment).write()


def _experiment(subject: Subject, asked: FindOptions, output: Path | None) -> Experiment:
    """The search by what makes it, and its folder."""
    spec, ours = asked.search, knobs(asked.search) | knobs(asked.prune)
    ours = {name: value for name, value in ours.items() if name not in ("model", "task")}
    folder = Path("runs") / f"{subject.task.name.replace('/', '-')}-{asked.prune.sparsity:f}-KEY"
    version = VERSION + sum(control in REVISED_CONTROLS for control in spec.controls)
    version += train_revisions(subject.recipe)
    return Experiment.of("find", version, describe(subject, **ours), output or folder)


def _tuned(subject: Subject, spec: FindSpec, lab: LabSpec, callback: RunCallback) -> Tuned:
    """The learning rate that does best on dev, by the dense network of the first seed."""
    jobs = tuning(subject, spec.seeds[0])
    store, summary = run_plan(jobs.plan, lab, callback)
    return jobs.chosen(store, summary)


@dataclass(frozen=True)
class _Finished:
    """A search whose jobs are done."""

    store: Store
    subject: Subject
    asked: FindOptions
    jobs: Finding
    margin: Margin
    tuned: Tuned | None
    experiment: Experiment

    def write(self) -> Found:
        """Write tickets, picture and result to the output folder."""
        folder = self.experiment.output.open()
        found = found_in(
            self.store,
            self.subject,
            self.asked.search,
            self.jobs,
            margin=self.margin,
            tuned=self.tuned.to_json() if self.tuned else None,
            tickets=self._tickets(folder),
            output=str(folder),
            key=self.experiment.key,
        )
        if any(value is not None for value in found.dense["values"]):
            from tombola.report.figures import score_curve  # whose library is slow to import

            score_curve.save(found.to_json(), folder, found.finder["label"])
        write_file(folder / "result.json", json_text(found.to_json()))
        return found

    def _tickets(self, folder: Path) -> dict[str, str]:
        """Seed -> folder of its ticket; none for a seed whose dense network diverged."""
        tickets = {}
        for seed, one in self.jobs.searches.items():
            if self.store.has(one.trainings[self.asked.prune.sparsity].key):
                place = folder / f"ticket-seed-{seed}"
                self._ticket(one).save(place)
                tickets[str(seed)] = str(place)
        return tickets

    def _ticket(self, one: Search) -> Ticket:
        """The ticket of one seed."""
        spec, prune, training = (
            self.asked.search,
            self.asked.prune,
            one.trainings[self.asked.prune.sparsity],
        )
        (masked,) = results(self.store, [training])
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
            provenance=self._provenance(one),
        )

    def _provenance(self, one: Search) -> dict[str, Any]:
        """What the ticket says of the search, the scores and the recipe."""
        dense, masked = results(self.store, [one.dense, one.trainings[self.asked.prune.sparsity]])
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
        }


def _schedule(spec: PruneSpec) -> dict[str, Any]:
    """How the sparsity rose, where it did so by a schedule."""
    if not isinstance(spec, RewindSpec) or spec.rounds:
        return {}
    return {"schedule": spec.schedule, "step": spec.step}


def _finder(asked: FindOptions) -> dict[str, Any]:
    """What a ticket says of its finder: rounds, for the default one; name and knobs of others."""
    if asked.search.finder != FindSpec.finder:
        return {"finder": asked.search.finder, "knobs": knobs(asked.prune)}
    rounds = knobs(asked.prune).get("rounds", ())
    return {"rounds": list(rounds)} if rounds else {}
