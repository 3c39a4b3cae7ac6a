"""The network that is run: a trained one, or the pre-trained one of a ticket."""

import os
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import nn

from tombola.api.onnx.comparison import examples_of
from tombola.base.errors import OutputError, SpecError, TombolaError
from tombola.lab.starting_ticket import ticket_for
from tombola.models.network import Network, load_backbone
from tombola.ship.compiled.runtimes import BenchedNetwork
from tombola.ship.trained_network import load
from tombola.study.results.training_result import read_origin
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import Task
from tombola.ticket.format import JSON_NAME
from tombola.ticket.scope import backbone
from tombola.ticket.ticket import Ticket

__all__ = ["Scored", "scored_on", "subject_of"]


@dataclass(frozen=True)
class Scored:
    """What a trained network is scored on."""

    network: Network
    task: Task
    split: str
    examples: Examples


def subject_of(source: Ticket | str | PathLike[str], model: str | Path | None) -> BenchedNetwork:
    """The network under its ticket.

    Args:
        source: folder of a trained network with its ticket, or a ticket or its folder.
        model: where a ticket's network is, if not under the name that the ticket gives.

    Raises: TombolaError, if one of them can't be used.
    """
    if not isinstance(source, Ticket) and not Path(source).exists():
        raise SpecError(
            f"expected a ticket or a trained network, got nothing at {os.fspath(source)!r}. Check "
            "the path."
        )
    if not isinstance(source, Ticket) and not (Path(source) / JSON_NAME).exists():
        if model is not None:
            raise SpecError(
                f"model is the network of a ticket, got one for the network {os.fspath(source)!r}. "
                "Leave it out."
            )
        trained = load(source)
        named = "token_type_ids" in trained.tokenizer.model_input_names
        return BenchedNetwork(
            trained.model, trained.ticket, None, named and _has_types(trained.model)
        )
    found = source if isinstance(source, Ticket) else ticket_for(Path(source), _name(model))
    network = load_backbone(_name(model) or found.model)
    inside = dict(backbone(network).named_parameters())
    scope = None if found.mask.keys() <= inside.keys() else "encoder"
    under = found.apply(network, scope=scope).eval()
    return BenchedNetwork(under, found, scope, _has_types(under))


def _has_types(network: nn.Module) -> bool:
    """Whether a network distinguishes token types."""
    types: int = getattr(network.config, "type_vocab_size", 0)
    return types > 1


def _name(model: str | Path | None) -> str | None:
    return None if model is None else str(model)


def scored_on(
    source: Ticket | str | PathLike[str], limit: int, data: str | Path | None
) -> Scored | str:
    """What a trained network is scored on; or why it is not scored, in one line.

    Args:
        source: folder of a network that `tombola.train` wrote; others have no known task.
        limit: examples; 0 is none.
        data: where the task's files are, if not in the package.
    """
    if limit == 0:
        return "no scores were asked for"
    if isinstance(source, Ticket) or (Path(source) / JSON_NAME).exists():
        return "a ticket has no trained head to score; name the folder that `tombola train` writes"
    with suppress(OutputError):
        origin = read_origin(Path(source))
        if origin.task is not None:
            return _scored(os.fspath(source), origin.task, limit, data or origin.place)
    return "no scores, as no result.json next to the network says what it was trained on"


def _scored(source: str, task: Task, limit: int, data: str | Path | None) -> Scored | str:
    try:
        network = load_network(source, task.kind, len(task.labels), head="checkpoint")
        return Scored(network, task, *examples_of(network, task, limit, data))
    except TombolaError as error:
        return f"no scores: {error}"
