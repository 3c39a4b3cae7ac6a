"""A fixed ticket to be trained, or to start a search from."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tombola.base.errors import DataError, ModelError, SpecError, TicketError
from tombola.base.specs import FixedTicketSpec, LabSpec, PruneSpec, TrainSpec
from tombola.lab.options import ticket_options
from tombola.lab.store.artifacts import keep_mask
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import Subjects
from tombola.lab.ticket_origin import Origin, origin_of
from tombola.models.stored_types import most_weights
from tombola.plan.job import pruned_already
from tombola.plan.job_spec import GivenMask
from tombola.plan.plan import Subject
from tombola.tasks.task import Task, on_hub
from tombola.ticket.format import JSON_NAME, read_document
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import shortest
from tombola.ticket.ticket import Ticket

__all__ = ["FixedTicket", "Start", "fixed_ticket", "start_of", "ticket_for"]

POOLED = "encoder+pooler"
"""The scope of which some heads leave the pooler out."""

S = TypeVar("S", bound=FixedTicketSpec)


@dataclass(frozen=True, kw_only=True)
class FixedTicket(Generic[S]):
    """What is to be trained: a ticket, and how, once options and ticket have been put together."""

    ticket: Ticket
    place: str
    """Folder of the ticket; empty for one that is in memory."""
    model: str
    data: str | None
    spec: S
    task: Task
    recipe: TrainSpec
    lab: LabSpec
    margin_from_search: bool

    @property
    def called(self) -> str:
        """What messages call the ticket."""
        return repr(self.place) if self.place else "the ticket"

    def on_network(self, known: Subjects) -> tuple[Subject, Ticket]:
        """The network and the data, and the part of the ticket that the network has weights for.

        Raises: TicketError, if the ticket belongs to another network.
        """
        scopes = known.scopes(self.model, self.task, self.recipe)
        ticket, notes = _usable(self.ticket, self.spec.scope, scopes, self.task)
        subject = known.subject(
            self.model, self.task, self.recipe, scope=ticket.scope, folder=self.data
        )
        subject = replace(subject, notes=(*subject.notes, *notes))
        _check_belongs(ticket, subject)
        return subject, ticket


def fixed_ticket(
    kind: type[S],
    ticket: Ticket | str | Path,
    options: Mapping[str, Any],
    *,
    model: str | None,
    data: str | None,
) -> FixedTicket[S]:
    """The options of a verb, and from the ticket what they leave open.

    Args:
        kind: the spec of the verb.
        ticket: the ticket, or its folder.
        options: fields of that spec, `TaskSpec`, `TrainSpec` and `LabSpec` that were given.
        model: where the ticket's network is, if not under the name that the ticket gives.
        data: where the task's files are, if not where the task or the ticket says.

    Raises: SpecError, if they don't fit the ticket; TicketError, if that is damaged.
    """
    loaded = ticket if isinstance(ticket, Ticket) else ticket_for(Path(ticket), model)
    place = "" if isinstance(ticket, Ticket) else str(ticket)
    origin = origin_of(loaded.task, loaded.provenance)
    if loaded.task and not options.get("task") and origin.task is None:
        raise SpecError(
            f"{repr(place) if place else 'the ticket'} was found on {loaded.task!r}, which is no "
            "task that comes with tombola. Name it with --task, as the search did."
        )
    network = model or loaded.model
    spec, task, recipe, lab = ticket_options(kind, options, origin, network)
    from_search = task.by_rule and origin.is_of(task) and origin.margin is not None
    if from_search:
        task = replace(task, margin=float(origin.margin or 0), by_rule=False)
    asked = FixedTicket(
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


def ticket_for(folder: Path, model: str | None) -> Ticket:
    """A ticket of no more weights than the files of its network have.

    Args:
        folder: of the ticket.
        model: where the network is, if not under the name that the ticket gives.

    Raises: TicketError, if it is missing, damaged, or larger.
    """
    limit = None
    if (folder / JSON_NAME).is_file():
        with suppress(ModelError, SpecError):  # reported with the task, or the network's own name
            limit = most_weights(model or read_document(folder).model)
    return Ticket.load(folder) if limit is None else Ticket.load(folder, limit=limit)


def _same_data(asked: FixedTicket[S], origin: Origin) -> str | None:
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


def _usable(
    ticket: Ticket, scope: str, scopes: Collection[str], task: Task
) -> tuple[Ticket, list[str]]:
    """The part of a ticket that was asked for, or that a task's network has weights for; and notes.

    A head that reads every token leaves the pooler out; the mask of the encoder still fits.
    """
    if scope:
        return _part(ticket, scope), []
    if ticket.scope in scopes or ticket.scope != POOLED:
        return ticket, []
    part = _part(ticket, "encoder")
    note = (
        f"The ticket covers the pooler, which the network has no use for on {task.name}: what is "
        f"trained has the encoder's part of the mask, {part.mask.pruned:,} pruned of "
        f"{part.mask.size:,}."
    )
    return part, [note]


def _part(ticket: Ticket, scope: str) -> Ticket:
    """The ticket of a scope that it covers.

    Raises: TicketError, for a scope that it doesn't cover.
    """
    mask = ticket.mask_for(scope)
    if scope == ticket.scope:
        return ticket
    return replace(ticket, mask=mask, scope=scope, sparsity=shortest(mask.pruned, mask.size))


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


@dataclass(frozen=True)
class Start:
    """What a search starts from: the part of a ticket that is in the search's scope."""

    subject: Subject
    """Network, task and recipe of the search, with the ticket as its start."""
    mask: Mask
    task: str
    """The task that the ticket was found on; empty if there is none."""

    def keep(self, store: Store) -> None:
        """Save the mask, which the search's first jobs read."""
        job = pruned_already(self.subject)
        assert job is not None
        keep_mask(store, job, self.mask)

    def described(self) -> dict[str, Any]:
        """Its description in the experiment and in new tickets."""
        sparsity = f"{shortest(self.mask.pruned, self.mask.size):f}"
        of_task = {"task": self.task} if self.task else {}
        return {"from": {"mask": self.mask.digest(), "sparsity": sparsity, **of_task}}


def start_of(ticket: Ticket | str | Path, subject: Subject) -> Start:
    """A ticket as the start of a search.

    Args:
        ticket: the ticket, or its folder.
        subject: network, task and recipe of the search.

    Raises: TicketError, if it is damaged, of another network, or doesn't cover the scope.
    """
    found = ticket if isinstance(ticket, Ticket) else ticket_for(Path(ticket), subject.model)
    _check_belongs(found, subject)
    mask = found.mask_for(subject.scope)
    start = GivenMask(
        prune=PruneSpec(sparsity=shortest(mask.pruned, mask.size)),
        digest=mask.digest(),
        network=subject.network,
        scope=subject.scope,
    )
    return Start(replace(subject, pruned=start), mask, found.task or "")
