"""What the layers above do for a ticket; they are loaded when a ticket is first asked for it."""

from collections.abc import Callable
from typing import Any

from torch import nn

from tombola.base.registry import Registry

__all__ = ["FASTER", "HUB"]

HUB: Registry[Callable[..., Any]] = Registry("use of the hub", package="tombola.ship.sharing")
"""(place, ...) -> the ticket there: `fetch`; (ticket, place, ...) -> its address there: `push`."""

FASTER: Registry[Callable[..., nn.Module]] = Registry(
    "way to a faster network", package="tombola.ship.compiled"
)
"""(network, mask, ...) -> another network with the same outputs: `shrink` and `compile`."""
