"""Command lines that tests run, and what is expected of an error."""

from collections.abc import Callable
from pathlib import Path

__all__ = ["RECIPE", "Cli", "find_command", "refusal"]

Cli = Callable[..., tuple[int, str, str]]
"""The fixture `cli`: arguments of a command line -> exit status, stdout, stderr."""

RECIPE = "--epochs 1 --batch-size 16 --learning-rate 1e-2".split()
SEARCH = "--sparsity 0.25 --step 0.25 --controls none".split()


def find_command(model: Path, data: Path) -> list[object]:
    """A search that takes a second."""
    return ["find", "--model", model, "--data", data, *RECIPE, *SEARCH]


def refusal(answer: tuple[int, str, str]) -> str:
    """The one line of an error."""
    status, _, line = answer
    assert status == 2
    assert line.startswith("tombola: ")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    return line.removeprefix("tombola: ").rstrip("\n")
