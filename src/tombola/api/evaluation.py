"""An evaluation: one fixed ticket trained on a task with fresh seeds, next to the dense network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tombola.api.experiment import Experiment, describe, raise_failed, read_margin, stored_in
from tombola.api.fixed_ticket import fixed_ticket
from tombola.base.errors import SpecError
from tombola.base.fields import StrPath
from tombola.base.files import write_file
from tombola.base.json_text import json_text
from tombola.base.specs import EvaluateSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import keep_mask
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import given
from tombola.plan.job_spec import train_revisions
from tombola.plan.search import evaluation
from tombola.plan.subject import Subject
from tombola.ship.sources import merged_in
from tombola.study.results.evaluation_result import EvaluationResult, build_evaluation_result
from tombola.study.table.margins import TICKET
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket
from tombola.training.distributed import restoring_process

__all__ = ["evaluate_ticket"]

VERSION = 1
"""Incremented when the same knobs come to mean something else."""


@restoring_process()
def evaluate_ticket(
    ticket: Ticket | StrPath,
    options: Mapping[str, Any],
    *,
    model: str | None,
    output: Path | None,
    data: str | None,
    callback: RunCallback,
) -> EvaluationResult:
    """Train a ticket on a task with fresh seeds.

    Args:
        ticket: the ticket, or its folder.
        options: fields of `EvaluateSpec`, `TaskSpec`, `TrainSpec` and `LabSpec` that were given.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: folder for the result; None is one under `runs/`, named by the experiment.
        data: where the task's files are, if not where the task or the ticket says.
        callback: called as the jobs run.

    Raises: TombolaError, if an option, the ticket, the model or the data are not usable;
        JobFailedError, if a training fails for another reason.
    """
    asked = fixed_ticket(EvaluateSpec, ticket, options, model=model, data=data)
    _check_fresh(asked.ticket, asked.spec)
    subjects = SubjectFactory(Path(asked.lab.store))
    subject, part = asked.on_network(subjects)
    experiment = _experiment(asked.spec, subject, part.mask, output)
    pruning = given(subject, part.mask.digest(), part.sparsity)
    keep_mask(Store(asked.lab.store), pruning, part.mask)
    jobs = evaluation(subject, pruning, asked.spec)
    callback.on_subject(subject)
    store, summary = run_plan(jobs.plan, asked.lab, callback)
    raise_failed(summary)
    subjects.save()
    margin = read_margin(asked.task, store, jobs.scoring)
    evaluated = build_evaluation_result(
        store,
        subject,
        jobs,
        margin=replace(margin, origin=TICKET) if asked.margin_from_search else margin,
        init=asked.spec.init,
        sparsity=part.sparsity,
        ticket=Path(asked.place) if asked.place else None,
        output=experiment.output.folder,
        key=experiment.key,
    )
    with stored_in(store):
        write_file(experiment.output.open() / "result.json", json_text(evaluated.to_json()))
    return evaluated


def _check_fresh(ticket: Ticket, spec: EvaluateSpec) -> None:
    """Refuse the seeds that the ticket, or what it was merged from, was found with.

    Raises: SpecError, with the first of them.
    """
    merged = merged_in(ticket.provenance)
    of_search = {ticket.seed, *(merged.seeds if merged else ())}
    used = next((seed for seed in spec.seeds if seed in of_search), None)
    if used is not None:
        raise SpecError(
            f"a ticket is evaluated on seeds other than that of its search, got {used}. Use fresh "
            "--seeds."
        )


def _experiment(
    spec: EvaluateSpec, subject: Subject, mask: Mask, output: Path | None
) -> Experiment:
    """The evaluation by what makes it, and its folder."""
    content = describe(subject, mask=mask.digest(), init=spec.init, seeds=spec.seeds)
    name = f"evaluate-{subject.task.name.replace('/', '-')}"
    version = VERSION + train_revisions(subject.recipe, spec.init)
    return Experiment.of("evaluate", version, content, folder=output, name=name)
