"""How far training has moved the weights of a network: of checkpoints, or of a stored training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import OutputError, TicketError
from tombola.lab.store.artifacts import read_mask, read_weights, result_of
from tombola.lab.store.key_prefix import key_with_prefix
from tombola.lab.store.result_store import Store
from tombola.plan.job_spec import as_training
from tombola.study.masks.sparsity_grids import kept_weights
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters

__all__ = ["checkpoint_distances", "stored_distances", "weight_distances"]

Arrays = dict[str, NDArray[Any]]


def weight_distances(
    before: Mapping[str, NDArray[np.floating]],
    after: Mapping[str, NDArray[np.floating]],
    mask: Mask | None = None,
) -> dict[str, float]:
    """How far each matrix has moved: |after - before| / |before|, Euclidean (Frobenius) norms.

    Args:
        before: name -> pre-trained weights.
        after: the same names, trained.
        mask: counts only the weights that it keeps, and the matrices that it names; a pruned
            one has moved to zero by the mask, not by training.

    Returns: name -> distance; NaN where the weights before are all zero.
    Raises: TicketError, if names or shapes differ.
    """
    found = {}
    for name in mask or before:
        shapes = [w[name].shape if name in w else None for w in (before, after)]
        if shapes[0] is None or shapes[0] != shapes[1]:
            raise TicketError(
                f"expected two sets of weights of one network, got {name} of shape {shapes[0]} "
                f"before and {shapes[1]} after. Pass a network and what was trained from it."
            )
        old, new = (np.asarray(w[name], dtype=np.float64) for w in (before, after))
        if mask is not None:
            old, new = (weights[kept_weights(mask, name)] for weights in (old, new))
        length = float(np.linalg.norm(old))
        found[name] = float(np.linalg.norm(new - old)) / length if length else float("nan")
    return found


def checkpoint_distances(
    trained: str, pretrained: str, mask: Mask | None, scope: str
) -> dict[str, float]:
    """The relative distance of each matrix of a checkpoint from another one.

    Args:
        trained, pretrained: an embedded name, a folder that save_pretrained() wrote, or a hub id.
        mask: counts only the weights that it keeps.
        scope: the matrices.

    Raises: ModelError, if one can't be loaded; TicketError, if they are of different networks.
    """
    return weight_distances(_backbone(pretrained, scope), _backbone(trained, scope), mask)


def stored_distances(store: Store, start: str, pretrained: str) -> tuple[str, dict[str, float]]:
    """How far a training in a store moved each matrix, of the weights that its mask keeps.

    Args:
        store: where it is.
        start: the first digits of its key.
        pretrained: the network that it started from.

    Returns: its label, and matrix -> distance.
    Raises: SpecError, if there is no such training; OutputError, if its weights are gone;
        TicketError, if it is a training of another network.
    """
    keys = [row["key"] for row in store.rows(kind="train")]
    key = key_with_prefix(
        store,
        start,
        keys,
        expected="a model folder or the first digits of one training's key",
        kind="train",
    )
    training = result_of(store, key)
    weights = read_weights(store, key)
    if weights is None:
        raise OutputError(
            f"expected the trained weights of {training.label!r} in the store, got none: they go "
            "when no job of a plan reads them. Give two checkpoints, or run a plan that reads them."
        )
    scope = as_training(training.job_spec).scope
    before = _backbone(pretrained, scope)
    after = {name: w for name in before if (w := _inside(weights, name)) is not None}
    mask = training.parents.get("mask")
    found = weight_distances(before, after, read_mask(store, mask) if mask else None)
    return training.label, found


def _inside(weights: Arrays, name: str) -> NDArray[Any] | None:
    """The weight of a backbone among those of a network with a head, which puts a name before."""
    return next((w for full, w in weights.items() if f".{full}".endswith(f".{name}")), None)


def _backbone(model: str, scope: str) -> Arrays:
    from tombola.models.network import load_backbone

    network = load_backbone(model)
    return {name: p.detach().numpy() for name, p in scope_parameters(network, scope).items()}
