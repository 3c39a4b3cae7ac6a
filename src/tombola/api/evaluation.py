"""An evaluation: one fixed ticket trained on a task with fresh seeds, next to the dense network."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.api.experiment import Experiment, describe, finished, margin_after, stored_in
from tombola.base.errors import DataError, SpecError, TicketError
from tombola.base.files import write_file
from tombola.base.json_text import json_text
from tombola.base.specs import EvaluateSpec, LabSpec, TrainSpec
from tombola.lab.options import evaluate_options
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import keep_mask
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import Subjects
from tombola.lab.ticket_origin import Origin, origin_of
from tombola.plan.job_spec import train_revisions
from tombola.plan.plan import Subject, given
from tombola.plan.search import evaluation
from tombola.study.results.evaluation_result import Evaluated, evaluated_in
from tombola.study.table.margins import TICKET
from tombola.tasks.task import Task, on_hub
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import shortest
from tombola.ticket.ticket import Ticket

__all__ = ["evaluate_ticket"]

VERSION = 1
"""Raised when the same knobs come to mean something else."""

POOLED = "encoder+pooler"
"""The scope of which some heads leave the pooler out."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is to be trained: a ticket, and how, once options and ticket have been put together."""

    ticket: Ticket
    place: str
    """Folder of the ticket; empty for one that is in memory."""
    model: str
    data: str | None
    spec: EvaluateSpec
    task: Task
    recipe: TrainSpec
    lab: LabSpec
    margin_from_search: bool

    @property
    def called(self) -> str:
        """What messages call the ticket."""
        return repr(self.place) if self.place else "the ticket"


def evaluate_ticket(
    ticket: Ticket | str | Path,
    options: Mapping[str, Any],
    *,
    model: str | None,
    output: Path | None,
    data: str | None,
    callback: RunCallback,
) -> Evaluated:
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
    asked = _asked(ticket, options, model, data)
    known = Subjects(Path(asked.lab.store))
    subject, mask, sparsity = _subject(asked, known)
    experiment = _experiment(asked, subject, mask, output)
    pruning = given(subject, mask.digest(), sparsity)
    keep_mask(Store(asked.lab.store), pruning, mask)
    jobs = evaluation(subject, pruning, asked.spec)
    callback.subject(subject)
    store = finished(*run_plan(jobs.plan, asked.lab, callback))
    known.save()
    margin = margin_after(asked.task, store, jobs.scoring)
    evaluated = evaluated_in(
        store,
        subject,
        jobs,
        margin=replace(margin, origin=TICKET) if asked.margin_from_search else margin,
        init=asked.spec.init,
        sparsity=sparsity,
        ticket=asked.place,
        output=str(experiment.output.folder),
        key=experiment.key,
    )
    with stored_in(store):
        write_file(experiment.output.open() / "result.json", json_text(evaluated.to_json()))
    return evaluated


def _asked(
    ticket: Ticket | str | Path, options: Mapping[str, Any], model: str | None, data: str | None
) -> _Asked:
    """The options, and from the ticket what they leave open.

    Raises: SpecError, if they don't fit the ticket; TicketError, if that is damaged.
    """
    loaded = ticket if isinstance(ticket, Ticket) else Ticket.load(ticket)
    place = "" if isinstance(ticket, Ticket) else str(ticket)
    origin = origin_of(loaded.task, loaded.provenance)
    if loaded.task and not options.get("task") and origin.task is None:
        raise SpecError(
            f"{repr(place) if place else 'the ticket'} was found on {loaded.task!r}, which is no "
            "task that comes with tombola. Name it with --task, as the search did."
        )
    network = model or loaded.model
    spec, task, recipe, lab = evaluate_options(options, origin, network)
    from_search = task.by_rule and origin.is_of(task) and origin.margin is not None
    if from_search:
        task = replace(task, margin=float(origin.margin or 0), by_rule=False)
    if loaded.seed in spec.seeds:
        raise SpecError(
            f"a ticket is evaluated on seeds other than that of its search, got {loaded.seed}. "
            "Name fresh --seeds."
        )
    asked = _Asked(
        ticket=loaded,
        place=place,
        model=network,
        data=data,
        spec=spec,
        task=task,
        recipe=recipe,
        lab=lab,
        margin_from_search=from_search,
    )
    return asked if data or options.get("task") else replace(asked, data=_same_data(asked, origin))


def _same_data(asked: _Asked, origin: Origin) -> str | None:
    """Where the data of the ticket's search are, if not in the package.

    Raises: DataError, if that folder no longer exists.
    """
    place = origin.place
    if place is not None and not on_hub(place) and not Path(place).exists():
        raise DataError(
            f"expected the data that {asked.called} was found on in {place!r}, got nothing there. "
            "Name it with --data."
        )
    return place


def _subject(asked: _Asked, known: Subjects) -> tuple[Subject, Mask, Decimal]:
    """The network and the data, the mask on that network, and its sparsity.

    Raises: TicketError, if the ticket belongs to another network.
    """
    scopes = known.scopes(asked.model, asked.task, asked.recipe)
    mask, scope, notes = _usable(asked.ticket, scopes, asked.task)
    subject = known.subject(asked.model, asked.task, asked.recipe, scope=scope, folder=asked.data)
    subject = replace(subject, notes=(*subject.notes, *notes))
    _check_belongs(asked.ticket, subject)
    return subject, mask, shortest(mask.pruned, mask.size) if notes else asked.ticket.sparsity


def _experiment(asked: _Asked, subject: Subject, mask: Mask, output: Path | None) -> Experiment:
    """The evaluation by what makes it, and its folder."""
    spec = asked.spec
    content = describe(subject, mask=mask.digest(), init=spec.init, seeds=spec.seeds)
    folder = Path("runs") / f"evaluate-{asked.task.name.replace('/', '-')}-KEY"
    version = VERSION + train_revisions(subject.recipe, spec.init)
    return Experiment.of("evaluate", version, content, output or folder)


def _usable(ticket: Ticket, scopes: Collection[str], task: Task) -> tuple[Mask, str, list[str]]:
    """The part of a ticket's mask that a task's network has weights for, its scope, and notes.

    A head that reads every token leaves the pooler out; the mask of the encoder still fits.
    """
    if ticket.scope in scopes or ticket.scope != POOLED:
        return ticket.mask, ticket.scope, []
    mask = Mask({n: kept for n, kept in ticket.mask.items() if not n.startswith("pooler.")})
    note = (
        f"The ticket covers the pooler, which the network has no use for on {task.name}: what is "
        f"trained has the encoder's part of the mask, {mask.pruned:,} pruned of {mask.size:,}."
    )
    return mask, "encoder", [note]


def _check_belongs(ticket: Ticket, subject: Subject) -> None:
    """Refuse a network that the ticket was not found in.

    Raises: TicketError, naming the first tensor that differs in shape, or both fingerprints.
    """
    if ticket.fingerprint == subject.fingerprint:
        return
    from tombola.models.network import load_backbone
    from tombola.ticket.scope import scope_parameters

    ticket.mask.check(scope_parameters(load_backbone(subject.model), ticket.scope))
    raise TicketError(
        f"the ticket was found in a network with fingerprint {ticket.fingerprint[:12]} "
        f"({ticket.model}), got {subject.fingerprint[:12]} ({subject.model}). "
        "Name the network it was found in as --model."
    )
