"""What was given of the arguments of a function that has every knob in its signature."""

import os
from collections.abc import Callable, Collection, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

__all__ = ["given", "place_of", "text_of"]

PLACES = ("output", "data", "callback")
"""Arguments that are no knobs."""


def given(
    function: Callable[..., Any], arguments: Mapping[str, Any], besides: Collection[str] = ()
) -> dict[str, Any]:
    """The knobs that differ from the function's defaults, or were asked for by another object.

    A sparsity that happens to equal the default still counts as asked for, because rounds may
    contradict it.

    Args:
        function: whose signature has the defaults.
        arguments: name -> value of each of its parameters.
        besides: other parameters that are no knobs.
    """
    parameters = signature(function).parameters
    return {
        name: value
        for name, value in arguments.items()
        if name not in (*PLACES, *besides) and value is not parameters[name].default
    }


def place_of(path: str | Path | None) -> Path | None:
    """A path, if there is one."""
    return Path(path) if path else None


def text_of(path: str | Path | None) -> str | None:
    """A path or a name as text, if there is one."""
    return None if path is None else os.fspath(path)
