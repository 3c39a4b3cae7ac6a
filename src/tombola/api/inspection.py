"""What is in a ticket, and what each scope would prune of a network before anything is trained."""

from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from tombola.api.tickets import one_shot
from tombola.base.errors import ModelError, TicketError, naming_keywords
from tombola.base.fields import path_text
from tombola.base.folders import directory_size
from tombola.base.text import printable
from tombola.models.embedded import EMBEDDED
from tombola.ship.card import HUB_NAME
from tombola.ticket.coder import MASK_NAME
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.format import JSON_NAME, ticket_files
from tombola.ticket.scope import (
    SCOPES,
    backbone,
    reasons_left_out,
    scope_parameters,
    whole_model_size,
)
from tombola.ticket.ticket import Ticket

__all__ = ["inspect"]

SPARSITIES = (Decimal("0.7"), Decimal("0.9"))
"""Sparsities at which the size of a one-shot ticket is reported."""


@naming_keywords()
def inspect(place: str | PathLike[str]) -> dict[str, Any]:
    """What a ticket is, or what each scope would prune of a network.

    Args:
        place: folder of a ticket, or what `find` returned for one seed; or a network, as an
            embedded name, a folder that `save_pretrained()` wrote, or a hub id.

    Returns: for a ticket, its provenance, size in bytes, and the sparsity of each matrix. For a
        network without its task head, its number of weights, and for each scope the matrices that
        it prunes, what it leaves out and why, and the bytes of a one-shot ticket; or why the
        network can't have that scope.
    Raises: TicketError, if a ticket is missing or damaged; ModelError, if a network can't be used.
    """
    name = path_text(place, "a folder, or the name of a network")
    folder = Path(name)
    if any((folder / each).exists() for each in (JSON_NAME, MASK_NAME)):
        return _ticket(folder)
    if name in EMBEDDED or (folder / "config.json").exists():
        return _network(name)
    if folder.exists() or not HUB_NAME.fullmatch(name):
        raise _neither(folder)
    try:
        return _network(name)
    except ModelError as error:
        raise ModelError(f"expected a ticket or a model: {error}") from error


def _neither(folder: Path) -> TicketError:
    if folder.is_dir():
        return TicketError(
            f"expected a ticket, with {JSON_NAME}, or a model, with config.json, got a folder with "
            f"neither at {printable(folder)}. Check the path."
        )
    kind = "a file" if folder.exists() else "nothing"
    return TicketError(
        f"a ticket is a folder, got {kind} at {printable(folder)}; a model is a folder with "
        f"config.json, or a name on the hub. Check the path."
    )


def _ticket(folder: Path) -> dict[str, Any]:
    """What a ticket is."""
    loaded = Ticket.load(folder)
    return {
        **loaded.describe(),
        "bytes": directory_size(folder),
        "layers": loaded.mask.layer_sparsities(),
    }


def _network(model: str) -> dict[str, Any]:
    """What each scope would prune of a network."""
    from tombola.models.network import load_backbone

    network = load_backbone(model)
    scopes = {scope: _scope(network, model, scope) for scope in SCOPES}
    if all("refused" in about for about in scopes.values()):
        raise ModelError(scopes["encoder"]["refused"])
    return {
        "model": model,
        "architecture": type(backbone(network)).__name__,
        "fingerprint": fingerprint(network),
        "size": whole_model_size(network),
        "scopes": scopes,
    }


def _scope(network: nn.Module, model: str, scope: str) -> dict[str, Any]:
    """What one scope would prune; only `refused`, the reason, if the network can't have it."""
    try:
        parameters = scope_parameters(network, scope)
    except ModelError as error:
        return {"refused": str(error)}
    size = sum(parameter.numel() for parameter in parameters.values())
    return {
        "size": size,
        "share": size / whole_model_size(network),
        "matrices": {name: list(parameter.shape) for name, parameter in parameters.items()},
        "left_out": {
            name: {"shape": list(parameter.shape), "reason": reason}
            for name, (parameter, reason) in reasons_left_out(network, scope).items()
        },
        "ticket_bytes": {
            format(s, "f"): _ticket_bytes(network, model, scope, s) for s in SPARSITIES
        },
    }


def _ticket_bytes(network: nn.Module, model: str, scope: str, sparsity: Decimal) -> int:
    """The bytes that the one-shot ticket of a sparsity takes."""
    ticket = one_shot(network, sparsity=sparsity, scope=scope)
    return sum(map(len, ticket_files(ticket.describe(), ticket.mask).values()))
