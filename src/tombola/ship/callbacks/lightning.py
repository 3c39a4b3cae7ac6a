"""A callback that keeps a ticket's pruned weights at zero in Lightning's Trainer."""

import sys
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from tombola.base.errors import SpecError, TicketError
from tombola.base.fields import StrPath
from tombola.ticket.hold.places import fitting
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["LightningTicketCallback"]

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""The two names that Lightning is installed under; its classes differ."""

SHARDED = ("FSDP", "DeepSpeed", "ModelParallel", "XLAFSDP")
"""Beginnings of the names of strategies that leave no process a whole weight."""


def _callback() -> Any:
    """The class of callbacks of the Lightning that is in use, or installed.

    Raises: SpecError, if there is none.
    """
    for package in sorted(PACKAGES, key=lambda package: package not in sys.modules):
        try:
            return import_module(package).Callback
        except ModuleNotFoundError:
            continue
    raise SpecError(
        "a callback for Lightning needs the package lightning or pytorch_lightning, got neither. "
        "Install it with `pip install lightning`."
    )


if not TYPE_CHECKING:
    Callback = _callback()


class LightningTicketCallback(Callback):
    """Holds a ticket from the beginning of a fit to its end.

        trainer = Trainer(callbacks=[LightningTicketCallback(ticket)])

    The network is found inside the LightningModule: it is the one whose tensors have the ticket's
    names and shapes. Whatever the trainer validates, saves or resumes in between has the pruned
    weights at +0.0, in every process of a distributed fit.

    Args:
        ticket: a ticket, its folder, or what `find` returned for one seed.
        scope: the scope, as in `Ticket.hold`.
        network: name of the module that is pruned, such as `student`, where several would fit.
    """

    def __init__(
        self,
        ticket: Ticket | StrPath,
        *,
        scope: str | None = None,
        network: str | None = None,
    ) -> None:
        self.ticket = ticket if isinstance(ticket, Ticket) else Ticket.load(ticket)
        self.scope = scope
        self.network = network
        self._held = ExitStack()

    def on_fit_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Hold the network; if an earlier fit failed, its network is let go of first."""
        self._held.close()
        strategy = type(trainer.strategy).__name__
        if strategy.startswith(SHARDED):
            raise TicketError(
                f"expected a network with whole weights on each process, got {strategy}. "
                "Train it with the strategy `ddp`."
            )
        network = _fitting(pl_module, self.ticket.mask_for(self.scope), self.network)
        self._held.enter_context(self.ticket.hold(network, scope=self.scope))

    def on_fit_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Let the network go, its pruned weights at +0.0."""
        self._held.close()

    def on_exception(
        self, trainer: "Trainer", pl_module: "LightningModule", exception: BaseException
    ) -> None:
        """Let the network go."""
        self._held.close()


def _fitting(module: nn.Module, mask: Mask, name: str | None) -> nn.Module:
    """The network that a mask is of, inside a module.

    Args:
        module: contains it.
        mask: the network's mask.
        name: the name of the network in the module, if it is known.

    Raises: TicketError, if none fits, or several do that share no weights.
    """
    if name is not None:
        return _named(module, name)
    found = fitting(module, mask)
    if len(found) == 1:
        return found[0][1]
    what = f"expected one network with the ticket's tensors in {type(module).__name__}"
    if found:
        places = ", ".join(repr(place) for place, _ in found)
        raise TicketError(f"{what}, got {places}. Pass one as network.")
    raise TicketError(f"{what}, got none. Pass it as network to see what differs.")


def _named(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        there = ", ".join(dict(module.named_children()))
        raise TicketError(
            f"expected a network named {name!r} in {type(module).__name__}, got {there}."
        ) from None
