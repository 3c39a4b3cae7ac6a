"""A search: train, prune, rewind, again; then the controls, the tickets and the verdict."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tombola.api.experiment import Experiment, describe, raise_failed, read_margin, stored_in
from tombola.api.network_folder import saved_network
from tombola.api.search_output import SearchOutput, network_of
from tombola.base.fields import StrPath
from tombola.base.keys import changed_knobs
from tombola.base.specs import TUNE, FindSpec, LabSpec
from tombola.base.specs.prune import UNSTRUCTURED
from tombola.finders.finder import FINDERS
from tombola.lab.options import FindOptions, find_options
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan, weights_in_use
from tombola.lab.starting_ticket import Start, start_of
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.lab.tuning import Tuned, tuning
from tombola.plan.job_spec import train_revisions
from tombola.plan.plan import Plan
from tombola.plan.search import Finding, finding
from tombola.plan.subject import Subject
from tombola.study.results.search_result import SearchResult
from tombola.ticket.ticket import Ticket
from tombola.training.distributed import restoring_process

__all__ = ["search"]

VERSION = 1
"""Incremented when the same knobs come to mean something else."""

REVISED_CONTROLS = ("layer-random", "shuffle-layers", "shuffle-layers")
"""Controls whose definition has changed since the first version, once for each change."""


@restoring_process()
def search(
    options: Mapping[str, Any],
    *,
    output: Path | None,
    data: str | None,
    callback: RunCallback,
    keep_weights: bool = False,
    from_ticket: Ticket | StrPath | None = None,
) -> SearchResult:
    """Find a ticket.

    Args:
        options: fields of `FindSpec`, `TaskSpec`, `TrainSpec` and `LabSpec` that were given.
        output: folder for the result; None is one under `runs/`, named by the experiment.
        data: where the task's files are, if not where it says.
        callback: called as the jobs run.
        keep_weights: whether the trained network of each ticket is saved next to it.
        from_ticket: the ticket that the search starts from, or its folder.

    Raises: TombolaError, if an option, the model or the data are not usable; JobFailedError, if a
        training fails for another reason.
    """
    asked = find_options(options)
    spec, lab = asked.search, asked.lab
    subjects, tuned = SubjectFactory(Path(lab.store)), None
    subject = subjects.subject(spec.model, asked.task, asked.recipe, scope=spec.scope, folder=data)
    start = None if from_ticket is None else start_of(from_ticket, subject)
    if options.get("learning_rate") == TUNE:
        whole = _jobs(subject, asked, start).plan
        tuned = _tuned(subjects.with_dev(subject), spec, lab, callback, whole)
        recipe = replace(subject.recipe, learning_rate=tuned.learning_rate)
        subject = replace(subject, recipe=recipe)
    experiment = _experiment(subject, asked, output, start)
    jobs = _jobs(subject, asked, start)
    if start:
        start.keep(Store(lab.store))
    plan = _plan(jobs, asked, experiment) if keep_weights else jobs.plan
    callback.on_subject(subject)
    with weights_in_use(Store(lab.store), plan.kept):
        store, summary = run_plan(plan, lab, callback)
        raise_failed(summary)
        subjects.save()
        margin = read_margin(asked.task, store, jobs.scoring)
        made = SearchOutput(
            *(store, subject, asked, jobs, margin, tuned, experiment),
            keep_weights=keep_weights,
            start=start,
        )
        with stored_in(store):
            return made.write()


def _jobs(subject: Subject, asked: FindOptions, start: Start | None) -> Finding:
    """The jobs of the search."""
    finder = FINDERS[asked.search.finder]
    begun = start.under(subject) if start else subject
    return finding(
        subject,
        asked.search,
        asked.prune.sparsity,
        lambda seed: finder.search(begun, asked.prune, seed, budget=asked.search.budget),
    )


def _plan(jobs: Finding, asked: FindOptions, experiment: Experiment) -> Plan:
    """The search with the weights of its tickets' networks, as far as they aren't saved yet."""
    last = {seed: one.trainings[asked.prune.sparsity].key for seed, one in jobs.searches.items()}
    folder = experiment.output.folder
    kept = {key for seed, key in last.items() if not saved_network(network_of(folder, seed), key)}
    return replace(jobs.plan, kept=frozenset(kept))


def _experiment(
    subject: Subject, asked: FindOptions, output: Path | None, start: Start | None
) -> Experiment:
    """The search by what makes it, and its folder."""
    spec, ours = asked.search, changed_knobs(asked.search) | changed_knobs(asked.prune)
    ours = {name: value for name, value in ours.items() if name not in ("model", "task")}
    ours |= start.described() if start else {}
    name = f"{subject.task.name.replace('/', '-')}-{asked.prune.sparsity:f}"
    version = VERSION + sum(REVISED_CONTROLS.count(control) for control in spec.controls)
    version += train_revisions(subject.recipe)
    version += asked.prune.structure != UNSTRUCTURED  # once its controls pruned single weights
    about = describe(subject, **ours)
    return Experiment.of("find", version, about, folder=output, name=name)


def _tuned(
    subject: Subject, spec: FindSpec, lab: LabSpec, callback: RunCallback, whole: Plan
) -> Tuned:
    """The learning rate that does best on dev, by the dense network of the first seed."""
    jobs = tuning(subject, spec.seeds[0])
    store, summary = run_plan(jobs.plan, lab, callback, whole=whole)
    return jobs.chosen(store, summary)
