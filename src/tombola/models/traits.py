"""Facts about a network that planning needs in addition to its fingerprint."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from tombola.base.errors import ModelError, SpecError
from tombola.base.specs.prune import GROUPS, HEADS_AND_NEURONS, ROW, ROWS_TOGETHER
from tombola.models.network import Network
from tombola.ticket.init import INITS
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import SCOPES, beyond_linear, left_out, starred, transposed
from tombola.ticket.structures import check_groups, check_lines, check_matrices, units_of

__all__ = ["traits"]


def traits(network: Network) -> dict[str, Any]:
    """Plain facts of a network under the head of a task.

    Returns: heads: attention heads of a block, 0 if the configuration doesn't say; matrices: a
    digest of the names in the scope that belong to no linear layer, empty without any; scopes:
    name -> refused: structure, allocation or initialisation -> why the scope can't have it,
    transposed: names of its weights that are stored as (inputs, outputs), and left_out: name with
    stars -> weights of the blocks outside of the scope; or error: why the network has no such
    scope.
    """
    more = beyond_linear(network.model)
    return {
        "heads": network.attention_heads,
        "matrices": hashlib.sha256("\n".join(more).encode()).hexdigest() if more else "",
        "scopes": {name: _of_scope(network, name) for name in SCOPES},
    }


def _of_scope(network: Network, name: str) -> dict[str, Any]:
    try:
        parameters = network.scope(name)
    except ModelError as error:
        return {"error": str(error)}
    weights = {key: parameter.detach() for key, parameter in parameters.items()}
    turned = transposed(network.model, parameters)
    tried: dict[str, Callable[[], object]] = {
        HEADS_AND_NEURONS: partial(units_of, weights, network.attention_heads, turned),
        ROWS_TOGETHER: partial(check_matrices, weights),
        ROW: partial(check_lines, weights),
        **{f"N:{m}": partial(check_groups, weights, m, turned) for m in GROUPS},
        "shuffle-layers": partial(_shuffle_without_data, weights),
    }
    return {
        "refused": {what: why for what, attempt in tried.items() if (why := _refusal(attempt))},
        "transposed": sorted(turned),
        "left_out": _sizes(network.model, name),
    }


def _shuffle_without_data(weights: Tensors) -> None:
    """Shuffle blocks as `shuffle-layers` does, in tensors that take no memory."""
    empty = {name: torch.empty(weight.shape, device="meta") for name, weight in weights.items()}
    INITS["shuffle-layers"](empty, torch.Generator(), std=0.0)


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except SpecError as error:
        return str(error)
    return ""


def _sizes(model: nn.Module, scope: str) -> dict[str, int]:
    """Name with stars -> weights, of what a scope leaves out of the blocks."""
    sizes: dict[str, int] = {}
    for name, parameter in left_out(model, scope).items():
        sizes[starred(name)] = sizes.get(starred(name), 0) + parameter.numel()
    return sizes
