"""How far training has moved the weights of a network: checkpoints, and what a store still has."""

from typing import Any

from numpy.typing import NDArray

from tombola.base.errors import OutputError, SpecError
from tombola.lab.store.artifacts import read_mask, read_weights, result_of
from tombola.lab.store.result_store import Store
from tombola.plan.job_spec import train_job
from tombola.study.masks.anatomy import distances
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters

__all__ = ["moved", "moved_in_store"]

Arrays = dict[str, NDArray[Any]]


def moved(trained: str, pretrained: str, mask: Mask | None, scope: str) -> dict[str, float]:
    """The relative distance of each matrix of a checkpoint from another one.

    Args:
        trained, pretrained: an embedded name, a folder that save_pretrained() wrote, or a hub id.
        mask: counts living weights only.
        scope: the matrices.

    Raises: ModelError, if one can't be loaded; TicketError, if they are of different networks.
    """
    return distances(_backbone(pretrained, scope), _backbone(trained, scope), mask)


def moved_in_store(store: Store, start: str, pretrained: str) -> tuple[str, dict[str, float]]:
    """The same for a training in a store, of its living weights.

    Args:
        store: where it is.
        start: the first digits of its key.
        pretrained: the network that it started from.

    Returns: its label, and matrix -> distance.
    Raises: SpecError, if there is no such training; OutputError, if its weights are gone;
        TicketError, if it is a training of another network.
    """
    keys = [row["key"] for row in store.rows(kind="train") if row["key"].startswith(start)]
    if len(keys) != 1:
        listing = store.command("list", "--kind", "train")
        raise SpecError(
            f"expected a model folder or the first digits of one training's key, got {start!r}, "
            f"with which {len(keys)} begin. `{listing}` shows them."
        )
    training = result_of(store, keys[0])
    weights = read_weights(store, keys[0])
    if weights is None:
        raise OutputError(
            f"expected the trained weights of {training.label!r} in the store, got none: they go "
            "when no job of a plan reads them. Give two checkpoints, or run a plan that reads them."
        )
    scope = train_job(training.job_spec).scope
    before = _backbone(pretrained, scope)
    after = {name: w for name in before if (w := _inside(weights, name)) is not None}
    mask = training.parents.get("mask")
    found = distances(before, after, read_mask(store, mask) if mask else None)
    return training.label, found


def _inside(weights: Arrays, name: str) -> NDArray[Any] | None:
    """The weight of a backbone among those of a network with a head, which puts a name before."""
    return next((w for full, w in weights.items() if f".{full}".endswith(f".{name}")), None)


def _backbone(model: str, scope: str) -> Arrays:
    from tombola.models.network import load_backbone

    network = load_backbone(model)
    return {name: p.detach().numpy() for name, p in scope_parameters(network, scope).items()}
