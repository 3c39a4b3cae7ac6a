"""Tickets that searches start from, read from their folders; torch is loaded for that only."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import ModelError, SpecError
from tombola.base.fields import A_TICKET, StrPath, path_text
from tombola.base.specs import PruneSpec
from tombola.finders.finder import FINDERS
from tombola.plan.identity import NetworkIdentity
from tombola.plan.job import pruned_already
from tombola.plan.job_spec import GivenMask
from tombola.plan.subject import Subject
from tombola.ticket.schedule import shortest_sparsity
from tombola.ticket.structures import patterns_lost

if TYPE_CHECKING:
    from tombola.lab.store.result_store import Store
    from tombola.ticket.mask import Mask
    from tombola.ticket.ticket import Ticket

__all__ = ["Start", "StartingTickets", "check_belongs", "start_of", "ticket_for"]


@dataclass(frozen=True)
class Start:
    """What a search starts from: the part of a ticket that is in the search's scope."""

    subject: Subject
    """Network, task and recipe of the search, with the ticket as its start."""
    mask: "Mask"
    task: str
    """The task that the ticket was found on; empty if there is none."""
    refused: Mapping[str, str]
    """N:M that the mask leaves too few weights for -> why."""

    def under(self, subject: Subject) -> Subject:
        """A subject of the same network and scope whose search starts from the ticket."""
        mine = self.subject
        return replace(
            subject,
            pruned=mine.pruned,
            pruned_on=mine.pruned_on,
            refused={**subject.refused, **self.refused},
        )

    def keep(self, store: "Store") -> None:
        """Save the mask, which the search's first jobs read."""
        from tombola.lab.store.artifacts import keep_mask

        job = pruned_already(self.subject)
        assert job is not None
        keep_mask(store, job, self.mask)

    def described(self) -> dict[str, Any]:
        """Its description in the experiment and in new tickets."""
        sparsity = f"{shortest_sparsity(self.mask.pruned, self.mask.size):f}"
        of_task = {"task": self.task} if self.task else {}
        return {"from": {"mask": self.mask.digest(), "sparsity": sparsity, **of_task}}


class StartingTickets:
    """The tickets that the searches of a plan start from, each read once."""

    def __init__(self) -> None:
        self._starts: dict[tuple[str, NetworkIdentity, str], Start] = {}

    def __call__(self, subject: Subject, folder: str) -> Subject:
        """A subject whose search starts from the ticket in a folder.

        Raises: TicketError, as `start_of`.
        """
        name = folder, subject.network, subject.scope
        if name not in self._starts:
            self._starts[name] = start_of(folder, subject, model_option="model")
        return self._starts[name].under(subject)

    def keep(self, store: "Store") -> None:
        """Save the masks, which the first jobs of their searches read."""
        for start in self._starts.values():
            start.keep(store)


def start_of(
    ticket: "Ticket | StrPath", subject: Subject, *, model_option: str = "--model"
) -> Start:
    """A ticket as the start of a search.

    Args:
        ticket: the ticket, or its folder.
        subject: network, task and recipe of the search.
        model_option: what names the network, for the error.

    Raises: TicketError, if it is damaged, of another network, or doesn't cover the scope.
    """
    from tombola.ticket.ticket import Ticket

    if not isinstance(ticket, Ticket):
        ticket = ticket_for(Path(path_text(ticket, A_TICKET)), subject.model)
    found = ticket
    check_belongs(found, subject, model_option)
    mask = found.mask_for(subject.scope)
    start = GivenMask(
        prune=PruneSpec(sparsity=shortest_sparsity(mask.pruned, mask.size)),
        digest=mask.digest(),
        network=subject.network,
        scope=subject.scope,
    )
    under = replace(subject, pruned=start, pruned_on=_task_of_mask(found))
    return Start(under, mask, found.task or "", patterns_lost(mask, subject.transposed))


def _task_of_mask(ticket: "Ticket") -> str:
    """The task that a ticket's mask depends on; empty if no finder of it read any."""
    kept = ticket.provenance
    if kept.get("finder") not in [name for name in FINDERS if FINDERS[name].task_free]:
        return ticket.task or ""
    before = kept.get("from")
    task = before.get("task") if isinstance(before, dict) else None
    return task if isinstance(task, str) else ""


def ticket_for(folder: Path, model: str | None) -> "Ticket":
    """A ticket of no more weights than the files of its network have.

    Args:
        folder: the ticket's folder.
        model: where the network is, if not under the name that the ticket gives.

    Raises: TicketError, if it is missing, damaged, or larger.
    """
    from tombola.models.stored_types import most_weights
    from tombola.ticket.format import JSON_NAME, read_document
    from tombola.ticket.ticket import Ticket

    limit = None
    if (folder / JSON_NAME).is_file():
        with suppress(ModelError, SpecError):  # reported with the task, or the network's own name
            limit = most_weights(model or read_document(folder).model)
    return Ticket.load(folder) if limit is None else Ticket.load(folder, limit=limit)


def check_belongs(ticket: "Ticket", subject: Subject, model_option: str = "--model") -> None:
    """Refuse a network that the ticket was not found in.

    Raises: TicketError, naming the first tensor that differs in shape, or both fingerprints.
    """
    if ticket.fingerprint == subject.fingerprint:
        return
    from tombola.lab.ticket_origin import check_network
    from tombola.models.network import load_backbone
    from tombola.ticket.scope import scope_parameters

    ticket.mask.check(scope_parameters(load_backbone(subject.model), ticket.scope))
    check_network(ticket, subject.fingerprint, subject.model, model_option)
