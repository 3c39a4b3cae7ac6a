"""Saving networks that no configuration describes: refused, with what to do."""

from functools import partial
from typing import Any, NoReturn

from torch import nn

from tombola.base.errors import ModelError
from tombola.ticket.scope import backbone

__all__ = ["refuse_to_save"]


def refuse_to_save(network: nn.Module, *, came: str, method: str) -> None:
    """Make `save_pretrained` and `push_to_hub` of a network, and of that without its head, say that
    it can't be saved.

    Args:
        network: which `config.json` can't describe.
        came: what it is, as a noun phrase.
        method: the method of a ticket and of a loaded network that makes it.
    """
    for each in (network, backbone(network)):
        for name in ("save_pretrained", "push_to_hub"):
            each.__dict__[name] = partial(_refuse, came, method)


def _refuse(came: str, method: str, *_: Any, **__: Any) -> NoReturn:
    raise ModelError(
        f"expected a network that config.json describes, got {came}. Save the network that it was "
        f"made of and its ticket, as `tombola train` does, and call "
        f"tombola.load(folder).{method}()."
    )
