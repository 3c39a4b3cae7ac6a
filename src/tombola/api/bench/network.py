"""The network that is run: a trained one, or the pre-trained one of a ticket."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tombola.api.given import is_ticket, load_source_ticket
from tombola.base.errors import OutputError, SpecError, TombolaError
from tombola.lab.task_examples import read_examples
from tombola.models.network import Network, load_backbone
from tombola.ship.compiled.runtimes import BenchedNetwork
from tombola.ship.trained_network import load
from tombola.study.results.training_result import read_origin
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import Task
from tombola.ticket.scope import backbone
from tombola.ticket.ticket import Ticket

__all__ = ["Scored", "load_scored", "load_subject"]


@dataclass(frozen=True)
class Scored:
    """What a trained network is scored on."""

    network: Network
    task: Task
    split: str
    examples: Examples


def load_subject(source: Ticket | str, model: str | None) -> BenchedNetwork:
    """The network under its ticket.

    Args:
        source: folder of a trained network with its ticket, or a ticket or its folder.
        model: where a ticket's network is, if not under the name that the ticket gives.

    Raises: TombolaError, if one of them can't be used.
    """
    if not isinstance(source, Ticket) and not Path(source).exists():
        raise SpecError(
            f"expected a ticket or a trained network, got nothing at {source!r}. Check the path."
        )
    ticket = load_source_ticket(source, model)
    if ticket is None:
        return _trained(str(source))
    network = load_backbone(model or ticket.model)
    inside = dict(backbone(network).named_parameters())
    scope = None if ticket.mask.keys() <= inside.keys() else "encoder"
    under = ticket.apply(network, scope=scope).eval()
    return BenchedNetwork(under, ticket, scope, _has_types(under))


def _trained(folder: str) -> BenchedNetwork:
    """A trained network under the ticket in its folder."""
    trained = load(folder)
    named = "token_type_ids" in trained.tokenizer.model_input_names
    return BenchedNetwork(trained.model, trained.ticket, None, named and _has_types(trained.model))


def _has_types(network: nn.Module) -> bool:
    """Whether a network distinguishes token types."""
    types: int = getattr(network.config, "type_vocab_size", 0)
    return types > 1


def load_scored(source: Ticket | str, limit: int, data: str | None) -> Scored | str:
    """What a trained network is scored on; or why it is not scored, in one line.

    Args:
        source: folder of a network that `tombola.train` wrote; others have no known task.
        limit: examples; 0 is none.
        data: where the task's files are, if not in the package.
    """
    if limit == 0:
        return "no scores were asked for"
    if isinstance(source, Ticket) or is_ticket(source):
        return "a ticket has no trained head to score; pass the folder that `tombola train` writes"
    with suppress(OutputError):
        origin = read_origin(Path(source))
        if origin.task is not None:
            return _scored(source, origin.task, limit, data or origin.place)
    return "no scores, as no result.json next to the network says what it was trained on"


def _scored(source: str, task: Task, limit: int, data: str | None) -> Scored | str:
    try:
        network = load_network(source, task.kind, len(task.labels), head="checkpoint")
        return Scored(network, task, *read_examples(network, task, limit, data))
    except TombolaError as error:
        return f"no scores: {error}"
