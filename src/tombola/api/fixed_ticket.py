"""A fixed ticket to be trained."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tombola.base.errors import DataError, SpecError
from tombola.base.fields import A_TICKET, StrPath, path_text
from tombola.base.specs import FixedTicketSpec, LabSpec, TrainSpec
from tombola.lab.options import ticket_options
from tombola.lab.starting_ticket import check_belongs, ticket_for
from tombola.lab.subjects import SubjectFactory
from tombola.lab.ticket_origin import Origin, origin_of
from tombola.plan.subject import Subject
from tombola.tasks.task import Task, on_hub
from tombola.ticket.schedule import shortest_sparsity
from tombola.ticket.ticket import Ticket

__all__ = ["FixedTicket", "fixed_ticket"]

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

    def on_network(self, subjects: SubjectFactory) -> tuple[Subject, Ticket]:
        """The network and the data, and the part of the ticket that the network has weights for.

        Raises: TicketError, if the ticket belongs to another network.
        """
        scopes = subjects.scopes(self.model, self.task, self.recipe)
        ticket, notes = _fit_to_task(self.ticket, self.spec.scope, scopes, self.task)
        subject = subjects.subject(
            self.model, self.task, self.recipe, scope=ticket.scope, folder=self.data
        )
        subject = replace(subject, notes=(*subject.notes, *notes))
        check_belongs(ticket, subject)
        return subject, ticket


def fixed_ticket(
    kind: type[S],
    ticket: Ticket | StrPath,
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
    place = "" if isinstance(ticket, Ticket) else path_text(ticket, A_TICKET)
    loaded = ticket if isinstance(ticket, Ticket) else ticket_for(Path(place), model)
    origin = origin_of(loaded.task, loaded.provenance)
    if loaded.task and not options.get("task") and origin.task is None:
        raise SpecError(
            f"{repr(place) if place else 'the ticket'} was found on {loaded.task!r}, a task that "
            "does not come with tombola. Pass the same --task as in the search."
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


def _same_data(asked: FixedTicket[S], origin: Origin) -> str | None:
    """Where the data of the ticket's search are, if not in the package.

    Raises: DataError, if that folder no longer exists.
    """
    place = origin.place
    if place is not None and not on_hub(place) and not Path(place).exists():
        raise DataError(
            f"expected the data that {asked.called} was found on in {place!r}, got nothing there. "
            "Pass --data."
        )
    return place


def _fit_to_task(
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
        f"The ticket covers the pooler, which the network does not use on {task.name}: it is "
        f"trained under the encoder's part of the mask, {part.mask.pruned:,} pruned of "
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
    return replace(
        ticket, mask=mask, scope=scope, sparsity=shortest_sparsity(mask.pruned, mask.size)
    )
