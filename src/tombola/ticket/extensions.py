"""What the layers above do for a ticket; they are loaded when a ticket is first asked for it."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from tombola.base.fields import StrPath
from tombola.base.registry import Registry

__all__ = ["FASTER", "TRANSPORTS", "Transport"]


class Transport(Protocol):
    """Carries a ticket to the hub and back."""

    def fetch(
        self,
        place: str,
        *,
        revision: str | None,
        token: str | bool | None,
        cache_dir: StrPath | None,
    ) -> Any:
        """The `Ticket` at a place."""

    def push(
        self,
        ticket: Any,
        place: str,
        *,
        private: bool,
        revision: str | None,
        token: str | bool | None,
        commit_message: str | None,
    ) -> str:
        """Send a ticket and return its address."""


TRANSPORTS: Registry[Transport] = Registry("transport", package="tombola.ship.sharing")
"""The layer that talks to the hub registers one as `hub`."""

FASTER: Registry[Callable[..., nn.Module]] = Registry(
    "way to a faster network", package="tombola.ship.compiled"
)
"""(network, mask, ...) -> another network with the same outputs: `shrink` and `compile`."""
