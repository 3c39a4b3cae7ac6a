"""One ticket from several of the same network: the weights that any, all or most of them keep."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tombola.api.given import ticket_or_path
from tombola.api.tickets import named_network
from tombola.base.errors import SpecError, TicketError, naming_keywords
from tombola.base.fields import StrPath
from tombola.base.specs import MergeSpec
from tombola.base.specs.merge import INTERSECTION, MAJORITY, UNION
from tombola.lab.ticket_origin import check_network
from tombola.ship.sources import source_record
from tombola.study.results.search_result import SearchResult
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import pruned_count, shortest_sparsity
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

__all__ = ["merge"]

OF_THE_SEARCH = ("metric", "recipe", "split", "margin", "data", "tuned", "finder", "knobs")
"""Fields of the provenance that the merged ticket has, too, if all tickets agree on them."""


@naming_keywords()
def merge(
    tickets: Iterable[Ticket | StrPath] | SearchResult,
    *,
    rule: str = MAJORITY,
    sparsity: float | str | Decimal | None = None,
    model: StrPath | nn.Module | None = None,
) -> Ticket:
    """One ticket from several of the same network and scope.

    Args:
        tickets: two or more tickets, or their folders; or what `find` returned for several seeds.
        rule: which weights are kept: `union`, those that any ticket keeps; `intersection`, those
            that all keep; `majority`, those that more than half of them keep.
        sparsity: only with `majority`: prune exactly this fraction of the scope, first the weights
            that the fewest tickets keep; among those that equally many keep, the smallest
            pre-trained ones; among equal ones, by name, then position.
        model: where the pre-trained network is, if not under the name that the first ticket gives;
            it is loaded only for a sparsity.

    Returns: a ticket whose provenance has the rule, and ticket.json of each source without what
        they share. Its task and recipe are those of the sources if they agree on them.
    Raises: TombolaError, if a ticket is damaged, they are of different networks or scopes, the rule
        would keep no weight, or the sparsity needs weights that no ticket keeps.
    """
    spec = MergeSpec(rule=rule, sparsity=sparsity)  # type: ignore[arg-type]
    sources = _load(_list_tickets(tickets))
    votes = _votes(sources)
    if spec.sparsity is None:
        least = _least(spec.rule, len(sources))
        mask = Mask({name: count >= least for name, count in votes.items()})
    else:
        weights = _weights(sources[0], model)
        mask = _most_kept(votes, len(sources), weights, spec.sparsity)
    if mask.pruned == mask.size:
        raise SpecError(
            f"expected weights that the {spec.rule} of {len(sources)} tickets keeps, got none. Use "
            "another rule."
        )
    return _ticket(sources, mask, spec)


# --- tickets -------------------------------------------------------------------


def _list_tickets(
    tickets: Iterable[Ticket | StrPath] | SearchResult,
) -> list[Ticket | str]:
    """Two or more of them.

    Raises: SpecError, for fewer, or something else.
    """
    if isinstance(tickets, SearchResult):
        tickets = tickets.tickets.values()
    elif isinstance(tickets, str | PathLike | Ticket):
        tickets = [tickets]
    elif not isinstance(tickets, Iterable):
        raise SpecError(
            f"a merge takes two or more tickets, got {type(tickets).__name__}. Pass a list."
        )
    listed = [ticket_or_path(each) for each in tickets]
    if len(listed) < 2:
        raise SpecError(
            f"a merge takes two or more tickets, got {'one' if listed else 'none'}. Pass another."
        )
    return listed


def _load(tickets: Sequence[Ticket | str]) -> list[Ticket]:
    """The tickets, which are different ones of one network and one scope."""
    places = [each if isinstance(each, Ticket) else Path(each).resolve() for each in tickets]
    for at, place in enumerate(places):
        if any(place is other or place == other for other in places[:at]):
            named = "a ticket" if isinstance(place, Ticket) else repr(tickets[at])
            raise SpecError(f"expected different tickets, got {named} twice. Pass each once.")
    loaded = [each if isinstance(each, Ticket) else Ticket.load(each) for each in tickets]
    for at, ticket in enumerate(loaded[1:], 1):
        _check_alike(loaded[0], ticket, _called(tickets[0], 0), _called(tickets[at], at))
    return loaded


def _called(ticket: Ticket | str, at: int) -> str:
    """What a message calls one of the tickets."""
    return f"ticket {at + 1}" if isinstance(ticket, Ticket) else repr(ticket)


def _check_alike(first: Ticket, other: Ticket, name: str, other_name: str) -> None:
    """Refuse tickets of different networks or scopes.

    Raises: TicketError, with both.
    """
    if first.fingerprint != other.fingerprint:
        raise TicketError(
            f"expected tickets of one network, got {name} of {first.model} "
            f"({first.fingerprint[:12]}) and {other_name} of {other.model} "
            f"({other.fingerprint[:12]}). Merge tickets that were found in the same network."
        )
    if first.scope != other.scope:
        raise TicketError(
            f"expected tickets of one scope, got {name} of {first.scope!r} and {other_name} of "
            f"{other.scope!r}. Merge tickets that were found with the same --scope."
        )
    first.mask.check(other.mask, f"mask of {other_name}")


def _ticket(sources: Sequence[Ticket], mask: Mask, spec: MergeSpec) -> Ticket:
    """The merged ticket, which says what all sources agree on, and each of them by itself."""
    first = sources[0]
    definition = _agreed(source.provenance.get("task") for source in sources)
    same_task = len({repr(source.provenance.get("task")) for source in sources}) == 1
    kept = {name: _agreed(s.provenance.get(name) for s in sources) for name in OF_THE_SEARCH}
    if same_task:
        kept["task"] = definition
    return Ticket(
        mask=mask,
        model=first.model,
        fingerprint=first.fingerprint,
        scope=first.scope,
        sparsity=spec.sparsity or shortest_sparsity(mask.pruned, mask.size),
        task=_agreed(source.task for source in sources) if same_task else None,
        scores=_agreed(source.scores for source in sources),
        provenance={
            **{name: value for name, value in kept.items() if value is not None},
            "merged": {"rule": spec.rule, "sources": [source_record(s) for s in sources]},
        },
    )


def _agreed(values: Iterable[Any]) -> Any:
    """The value that all have; None if they differ."""
    first, *others = values
    return first if all(other == first for other in others) else None


# --- masks ---------------------------------------------------------------------


def _least(rule: str, count: int) -> int:
    """How many of some tickets must keep a weight that the merged one keeps."""
    return {UNION: 1, INTERSECTION: count, MAJORITY: count // 2 + 1}[rule]


def _votes(sources: Sequence[Ticket]) -> Tensors:
    """Name -> how many tickets keep each weight, as int16."""
    first = sources[0].mask
    return {
        name: sum(
            (s.mask[name].to(torch.int16) for s in sources), torch.tensor(0, dtype=torch.int16)
        )
        for name in first
    }


def _weights(ticket: Ticket, model: StrPath | nn.Module | None) -> Tensors:
    """The pre-trained weights of a ticket's scope.

    Raises: TicketError, if the network is not the one that the ticket was found in.
    """
    network, name = named_network(ticket.model if model is None else model)
    check_network(ticket, fingerprint(network), name)
    parameters = scope_parameters(network, ticket.scope)
    return {name: parameter.detach().cpu() for name, parameter in parameters.items()}


def _most_kept(votes: Tensors, count: int, weights: Tensors, sparsity: Decimal) -> Mask:
    """The mask of the weights that most tickets keep, cut to a sparsity.

    Args:
        votes: name -> how many tickets keep each weight.
        count: the number of tickets.
        weights: name -> pre-trained weights, same shapes, which decide among equal votes.
        sparsity: the sparsity of the mask, in [0, 1).

    Raises: SpecError, if it would take weights that no ticket keeps.
    """
    size = sum(each.numel() for each in votes.values())
    wanted = size - pruned_count(sparsity, size)
    tally = sum(torch.bincount(v.reshape(-1), minlength=count + 1) for v in votes.values())
    kept = torch.as_tensor(tally).flip(0).cumsum(0).flip(0)  # by at least so many tickets
    least = next((n for n in range(count, 0, -1) if kept[n] >= wanted), 0)
    if not least:
        union = shortest_sparsity(size - int(kept[1]), size)
        raise SpecError(
            f"expected a sparsity of at least {union:f}, which the tickets leave when the kept "
            f"weights of all are united, got {sparsity:f}. Use a higher one."
        )
    scores = {n: weights[n].abs().masked_fill(v > least, torch.inf) for n, v in votes.items()}
    return keep_top(scores, Mask({n: v >= least for n, v in votes.items()}), sparsity=sparsity)
