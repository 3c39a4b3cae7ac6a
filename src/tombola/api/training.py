"""A training whose network is kept: one ticket on a task, as a folder that loads anywhere."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tombola.api.experiment import raise_failed, stored_in
from tombola.api.fixed_ticket import fixed_ticket
from tombola.api.network_folder import NetworkWriter, saved_network
from tombola.base.errors import TrainingDivergedError
from tombola.base.fields import StrPath
from tombola.base.specs import TrainTicketSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan, weights_in_use
from tombola.lab.store.artifacts import keep_mask, result_of
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job, given
from tombola.plan.plan import Plan, evaluate
from tombola.study.results.training_result import TrainingResult, build_training_result
from tombola.ticket.ticket import Ticket
from tombola.training.distributed import restoring_process

__all__ = ["train_ticket"]


@restoring_process()
def train_ticket(
    ticket: Ticket | StrPath,
    options: Mapping[str, Any],
    *,
    model: str | None,
    output: Path | None,
    data: str | None,
    callback: RunCallback,
) -> TrainingResult:
    """Train a ticket on a task and keep the network.

    Args:
        ticket: the ticket, or its folder.
        options: fields of `TrainTicketSpec`, `TaskSpec`, `TrainSpec` and `LabSpec` that were given.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: folder for the network; None is one under `runs/`, named by the training.
        data: where the task's files are, if not where the task or the ticket says.
        callback: called as the job runs.

    Raises: TombolaError, if an option, the ticket, the model or the data are not usable;
        TrainingDivergedError, if the training diverges; JobFailedError, if it fails for another
        reason.
    """
    asked = fixed_ticket(TrainTicketSpec, ticket, options, model=model, data=data)
    subjects = SubjectFactory(Path(asked.lab.store))
    subject, part = asked.on_network(subjects)
    pruning = given(subject, part.mask.digest(), part.sparsity)
    (training,) = evaluate(subject, pruning, [asked.spec.seed], asked.spec.init)
    folder = output or _folder(training)
    place = Path(asked.place) if asked.place else None
    if (before := saved_network(folder, training.key)) is not None:
        return replace(before, ticket=place)
    store = Store(asked.lab.store)
    keep_mask(store, pruning, part.mask)
    callback.on_subject(subject)
    plan = replace(Plan.of([training]), kept=frozenset({training.key}))
    with weights_in_use(store, plan.kept):
        _, summary = run_plan(plan, asked.lab, callback)
        raise_failed(summary)
        subjects.save()
        trained = build_training_result(
            subject,
            _finite(store, training),
            init=asked.spec.init,
            sparsity=part.sparsity,
            output=folder,
        )
        with stored_in(store):
            written = NetworkWriter(store, subject).write(trained, part, folder)
    return replace(written, ticket=place)


def _folder(training: Job) -> Path:
    """The folder that is named by a training."""
    return Path("runs") / f"train-{training.subject.task.name.replace('/', '-')}-{training.key[:8]}"


def _finite(store: Store, training: Job) -> Result:
    """The result of a training.

    Raises: TrainingDivergedError, if it diverged.
    """
    run = result_of(store, training.key)
    if run.diverged is not None:
        raise TrainingDivergedError(f"{training.label} {run.diverged}. Use a lower learning rate.")
    return run
