"""What is in a ticket, and what each scope would prune of a network before anything is trained."""

from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from torch import nn

from tombola.api.tickets import one_shot
from tombola.base.errors import ModelError, TicketError, naming_keywords
from tombola.base.fields import StrPath, path_text
from tombola.base.folders import directory_size
from tombola.base.json_text import plain
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

__all__ = ["LeftOut", "NetworkInfo", "ScopeInfo", "TicketInfo", "inspect"]

SPARSITIES = (Decimal("0.7"), Decimal("0.9"))
"""Sparsities at which the size of a one-shot ticket is reported."""


@dataclass(frozen=True, kw_only=True)
class TicketInfo:
    """What is in a ticket."""

    ticket: Ticket
    bytes: int
    """Size of its folder."""
    layers: dict[str, float]
    """Matrix -> its sparsity."""

    def to_json(self) -> dict[str, Any]:
        """The ticket's fields and the others, as `tombola inspect --json` writes them."""
        return {**self.ticket.to_json(), "bytes": self.bytes, "layers": self.layers}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A parameter that a scope doesn't prune."""

    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class ScopeInfo:
    """What one scope would prune of a network."""

    size: int
    """Number of weights."""
    share: float
    """Of the network's weights, without its head."""
    matrices: dict[str, tuple[int, ...]]
    """Name -> shape."""
    left_out: dict[str, LeftOut]
    ticket_bytes: dict[Decimal, int]
    """Sparsity -> size of the one-shot ticket."""


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """What each scope would prune of a network, its task head left out."""

    model: str
    architecture: str
    """Name of its class."""
    fingerprint: str
    size: int
    """Number of weights."""
    scopes: dict[str, ScopeInfo]
    """Of the scopes that the network can have."""
    refused: dict[str, str]
    """Each of the others -> why the network can't have it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as `tombola inspect --json` writes them, with all scopes together."""
        fields: dict[str, Any] = plain(asdict(self))
        reasons = fields.pop("refused")
        scopes = fields["scopes"] | {name: {"refused": each} for name, each in reasons.items()}
        return {**fields, "scopes": {name: scopes[name] for name in SCOPES}}


@naming_keywords()
def inspect(place: StrPath) -> TicketInfo | NetworkInfo:
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


def _ticket(folder: Path) -> TicketInfo:
    """What a ticket is."""
    loaded = Ticket.load(folder)
    return TicketInfo(
        ticket=loaded, bytes=directory_size(folder), layers=loaded.mask.layer_sparsities()
    )


def _network(model: str) -> NetworkInfo:
    """What each scope would prune of a network.

    Raises: ModelError, if it can't have any of them.
    """
    from tombola.models.network import load_backbone

    network = load_backbone(model)
    scopes: dict[str, ScopeInfo] = {}
    refused: dict[str, str] = {}
    for scope in SCOPES:
        try:
            scopes[scope] = _scope(network, model, scope)
        except ModelError as error:
            refused[scope] = str(error)
    if not scopes:
        raise ModelError(refused["encoder"])
    return NetworkInfo(
        model=model,
        architecture=type(backbone(network)).__name__,
        fingerprint=fingerprint(network),
        size=whole_model_size(network),
        scopes=scopes,
        refused=refused,
    )


def _scope(network: nn.Module, model: str, scope: str) -> ScopeInfo:
    """What one scope would prune.

    Raises: ModelError, if the network can't have it.
    """
    parameters = scope_parameters(network, scope)
    size = sum(parameter.numel() for parameter in parameters.values())
    return ScopeInfo(
        size=size,
        share=size / whole_model_size(network),
        matrices={name: tuple(parameter.shape) for name, parameter in parameters.items()},
        left_out={
            name: LeftOut(shape=tuple(parameter.shape), reason=reason)
            for name, (parameter, reason) in reasons_left_out(network, scope).items()
        },
        ticket_bytes={s: _ticket_bytes(network, model, scope, s) for s in SPARSITIES},
    )


def _ticket_bytes(network: nn.Module, model: str, scope: str, sparsity: Decimal) -> int:
    """The bytes that the one-shot ticket of a sparsity takes."""
    ticket = one_shot(network, sparsity=sparsity, scope=scope)
    return sum(map(len, ticket_files(ticket.to_json(), ticket.mask).values()))
