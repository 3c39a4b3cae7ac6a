"""The type of the fixture `cli`, which runs a command of tombola."""

from collections.abc import Callable

__all__ = ["Cli"]

Cli = Callable[..., tuple[int, str, str]]
"""Arguments of a command line -> exit status, stdout, stderr."""
