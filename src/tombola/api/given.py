"""What was given of the arguments of a function that has every knob in its signature."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

from tombola.base.errors import SpecError, brief
from tombola.base.fields import A_TICKET, StrPath, path_text
from tombola.base.registry import unknown
from tombola.base.specs import FindSpec
from tombola.finders.finder import FINDERS, refuse_knobs_of_others
from tombola.lab.starting_ticket import ticket_for
from tombola.ticket.format import JSON_NAME
from tombola.ticket.ticket import Ticket

__all__ = [
    "given",
    "is_ticket",
    "load_source_ticket",
    "place_of",
    "text_of",
    "ticket_or_path",
    "with_finder_knobs",
]

PLACES = ("output", "data", "callback")
"""Parameters of every such function that are not knobs."""


def given(
    function: Callable[..., Any], arguments: Mapping[str, Any], leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """The knobs that differ from the function's defaults, in value or in type.

    So a sparsity that equals the default, which is an `Implied` one, counts as asked for: rounds
    may contradict it.

    Args:
        function: the function whose signature has the defaults.
        arguments: name -> value of each of its parameters.
        leave_out: other parameters that are not knobs.
    """
    defaults = {name: each.default for name, each in signature(function).parameters.items()}
    return {
        name: value
        for name, value in arguments.items()
        if name not in (*PLACES, *leave_out)
        and (type(value) is not type(defaults[name]) or value != defaults[name])
    }


def with_finder_knobs(
    options: Mapping[str, Any], finder_knobs: Mapping[str, object] | None
) -> dict[str, Any]:
    """The options of a search with the knobs of its finder among them.

    Raises: SpecError, for a knob that the finder doesn't have, or that is an option already.
    """
    if finder_knobs is None:
        return dict(options)
    if not isinstance(finder_knobs, Mapping) or not all(isinstance(k, str) for k in finder_knobs):
        raise SpecError(
            f"finder_knobs must map names to values, got {brief(finder_knobs)}. Write "
            "{'batches': 4}."
        )
    finder = FINDERS[FindSpec(finder=options.get("finder", FindSpec.finder)).finder]
    refuse_knobs_of_others(finder, finder_knobs)
    known = [field.name for field in fields(finder.spec)]
    for name in finder_knobs:
        if name not in known:
            raise unknown(f"knob of the finder {finder.name}", name, known)
        if name in options:
            raise SpecError(
                f"{name} must be given once, got it in finder_knobs too. Leave one out."
            )
    return {**options, **finder_knobs}


def place_of(path: StrPath | None) -> Path | None:
    """A path, if there is one; `~` is the user's home."""
    return Path(path_text(path, "a path")) if path else None


def text_of(path: StrPath | None) -> str | None:
    """A path or a name as text, if there is one; `~` is the user's home."""
    return None if path is None else path_text(path, "a path or a name")


def ticket_or_path(came: object, wanted: str = A_TICKET) -> Ticket | str:
    """A ticket as it is, and the path of one as text.

    Raises: SpecError, for anything else.
    """
    return came if isinstance(came, Ticket) else path_text(came, wanted)


def is_ticket(source: Ticket | str) -> bool:
    """Whether a source is a ticket or the folder of one, and not a network."""
    return isinstance(source, Ticket) or (Path(source) / JSON_NAME).is_file()


def load_source_ticket(source: Ticket | str, model: str | None) -> Ticket | None:
    """The ticket that a source is, or whose folder it is; None for a network.

    Args:
        source: a ticket, its folder, or a network.
        model: where a ticket's network is, if not under the name that the ticket gives.

    Raises: TicketError, if the ticket is damaged; SpecError, for a model of what is no ticket.
    """
    if isinstance(source, Ticket):
        return source
    if is_ticket(source):
        return ticket_for(Path(source), model)
    if model is not None:
        raise SpecError(
            f"model names the network of a ticket, but {source!r} is not a ticket. Leave model out."
        )
    return None
