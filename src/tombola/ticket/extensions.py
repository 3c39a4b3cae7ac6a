"""What the layers above do for a ticket; they are loaded when a ticket is first asked for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from torch import nn

from tombola.base.registry import Registry

__all__ = ["FASTER", "TRANSPORTS", "Transport"]


class Transport(Protocol):
    """Carries the folder of a ticket to the hub and back."""

    def fetched(
        self, place: str, *, revision: str | None, token: str | bool | None, cache_dir: Path | None
    ) -> AbstractContextManager[Path]:
        """A folder with the ticket's files, for as long as the context lasts."""

    def send(
        self,
        folder: Path,
        repo_id: str,
        *,
        private: bool,
        revision: str | None,
        token: str | bool | None,
        commit_message: str | None,
    ) -> str:
        """Upload the ticket in a folder and return its address."""


TRANSPORTS: Registry[Transport] = Registry("transport", package="tombola.ship.sharing")
"""The layer that talks to the hub registers one as `hub`."""

FASTER: Registry[Callable[..., nn.Module]] = Registry(
    "way to a faster network", package="tombola.ship.compiled"
)
"""(network, mask, ...) -> another network with the same outputs: `shrink` and `compile`."""
