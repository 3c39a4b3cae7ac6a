"""A small network, a ticket of it, and a count of the pruned weights that are not zero."""

from decimal import Decimal
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from tombola.base.specs.prune import HEADS_AND_NEURONS
from tombola.models.network import Network
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters
from tombola.ticket.structures import STRUCTURES
from tombola.ticket.ticket import Ticket


def network(**changes: Any) -> BertForSequenceClassification:
    """A small BERT with a head, always the same."""
    torch.manual_seed(0)
    size = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    config = BertConfig(vocab_size=40, **size | {"intermediate_size": 24} | changes)
    return BertForSequenceClassification(config)


def half_mask(network: Network, seed: int = 0) -> Mask:
    """A mask that keeps half of a network's encoder, chosen at random."""
    return drawn_mask(network, 0.5, seed)


def drawn_mask(network: Network, kept: float, seed: int = 0) -> Mask:
    """A mask that keeps about a share of a network's encoder, chosen at random."""
    drawn = torch.Generator().manual_seed(seed)
    scope = network.scope("encoder")
    return Mask({n: torch.rand(w.shape, generator=drawn) < kept for n, w in scope.items()})


def drawn_ticket() -> Ticket:
    """Three fifths of the encoder and the pooler pruned at random."""
    weights = scope_parameters(network(), "encoder+pooler")
    drawn = torch.Generator().manual_seed(1)
    mask = Mask({n: torch.rand(w.shape, generator=drawn) < 0.4 for n, w in weights.items()})
    sparsity = Decimal(mask.pruned) / Decimal(mask.size)
    return Ticket(
        mask=mask,
        model="google-bert/bert-base-uncased",
        fingerprint="0" * 64,
        scope="encoder+pooler",
        sparsity=sparsity,
    )


def ticket_of_mask(mask: Mask) -> Ticket:
    """The ticket of a mask over the encoder of some network."""
    sparsity = Decimal(mask.pruned) / Decimal(mask.size)
    return Ticket(mask=mask, model="made", fingerprint="0" * 64, scope="encoder", sparsity=sparsity)


def structured(
    model: nn.Module, sparsity: str, *, structure: str = HEADS_AND_NEURONS, heads: int = 2
) -> Ticket:
    """The ticket of a network's largest weights, in a structure: whole heads and neurons."""
    parameters = scope_parameters(model, "encoder")
    scores = {name: weight.detach().abs() for name, weight in parameters.items()}
    prune = STRUCTURES[structure]
    return ticket_of_mask(prune(scores, Mask.full(scores), Decimal(sparsity), heads))


BATCH = {
    "input_ids": torch.arange(24).reshape(4, 6) % 40,
    "labels": torch.tensor([0, 1, 1, 0]),
}


def revived(model: nn.Module, ticket: Ticket, scope: str | None = None) -> int:
    """Pruned weights of a network that are anything but +0.0."""
    mask = ticket.mask_for(scope)
    parameters = masked_parameters(model, mask)
    return sum(
        int(((weight != 0) | weight.signbit())[~mask[name].to(weight.device)].sum())
        for name, weight in parameters.items()
    )
