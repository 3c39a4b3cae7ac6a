"""A trained network with its ticket: loaded from its folder, and checked against each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tombola.base.errors import ModelError, TicketError, cut, naming_keywords
from tombola.base.fields import StrPath, path_text
from tombola.base.text import printable
from tombola.models.files import config_of
from tombola.models.loading import load_network_files
from tombola.models.network import load_tokenizer
from tombola.ship.compiled.compile import compile_network
from tombola.ship.compiled.shrink import shrink
from tombola.ticket.format import NESTED
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.ticket import Ticket

__all__ = ["TrainedNetwork", "load"]


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A trained network and the ticket whose pruned weights are +0.0 in it."""

    model: PreTrainedModel
    """The network with its head, as float32 on the CPU, without dropout until `train()`."""
    tokenizer: PreTrainedTokenizerBase
    ticket: Ticket
    """Its mask is over weights of the network: `ticket.hold(model)` fits as it is."""

    def __repr__(self) -> str:
        return f"<TrainedNetwork: {type(self.model).__name__} under {self.ticket!r}>"

    def shrink(self) -> PreTrainedModel:
        """A smaller dense network with the same outputs: see `Ticket.shrink`."""
        return shrink(self.model, self.ticket.mask)

    def compile(self, *, dtype: str = "float32", tokens: int = 128) -> PreTrainedModel:
        """A network for inference that skips pruned weights: see `Ticket.compile`."""
        return compile_network(self.model, self.ticket.mask, dtype=dtype, tokens=tokens)


@naming_keywords()
def load(folder: StrPath) -> TrainedNetwork:
    """Load a network that `tombola train` or `tombola find --keep-weights` wrote.

    Args:
        folder: the network's folder, with the ticket in `ticket/`; or what `train` returned.

    Raises: TicketError, if the ticket is missing or damaged, or weights that it prunes are not
        zero; ModelError, if the network can't be loaded.
    """
    named = path_text(folder, "the folder of a trained network")
    place = Path(named).resolve()  # so that no folder is taken for an embedded name
    if not place.is_dir():
        raise TicketError(
            f"expected the folder of a trained network, got nothing at {printable(place)}. Check "
            "the path."
        )
    if not (place / NESTED).is_dir():
        raise TicketError(
            f"expected a trained network with a folder {NESTED!r} in it at {printable(place)}, got "
            "none. Pass the folder that `tombola train` wrote."
        )
    network, report = load_network_files(_loader(place), str(place))
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"expected every weight of {type(network).__name__} in {str(place)!r}, got none for "
            f"{missing[0]}. Fetch the folder again."
        )
    ticket = Ticket.load(place / NESTED, limit=network.num_parameters())
    _check_zeros(network, ticket, place)
    return TrainedNetwork(network, load_tokenizer(str(place)), ticket)


def _loader(folder: Path) -> Callable[..., Any]:
    """`from_pretrained` of the class that a configuration names, one of transformers' own.

    Raises: ModelError, if it names none.
    """
    names = config_of(folder).get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise ModelError(
            f"expected a network of transformers under architectures in the config.json of "
            f"{str(folder)!r}, got {cut(name)}. Fetch the folder again."
        )
    loader: Callable[..., Any] = found.from_pretrained
    return loader


def _check_zeros(network: PreTrainedModel, ticket: Ticket, folder: Path) -> None:
    """Refuse a network in which a pruned weight is not zero.

    Raises: TicketError, naming the first tensor.
    """
    if found := ticket.mask.first_nonzero_pruned(masked_parameters(network, ticket.mask)):
        name, count = found
        raise TicketError(
            f"expected zeros where the ticket prunes {name} in {str(folder)!r}, got {count:,} "
            "other weights. Train it within `ticket.hold(model)`, or load it without tombola."
        )
