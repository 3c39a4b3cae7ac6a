"""What a config.json may claim, checked before anything is made of it; standard library only."""

import re
from collections.abc import Iterator
from typing import Any

from tombola.base.errors import ModelError, brief
from tombola.base.text import printable

__all__ = ["check_claims"]

COUNTED = re.compile(r"layer|label|depth|block")
"""Fields whose number transformers makes a list of that length from, before any weight is read."""

MOST = 100_000
"""Layers or classes that a number may claim; a list of their names may be longer."""

ATTENTION = ("eager", "sdpa", "flex_attention")
"""Ways to compute attention that are in torch and transformers; others may be fetched as code."""

CHOICE = re.compile(r"_?(attn|experts)_implementation(_internal|_autoset)?")
EXPERTS = ("eager", "batched_mm", "grouped_mm")


def check_claims(config: object, model: str) -> None:
    """Refuse a configuration that asks for code from elsewhere, or for lists without end.

    Args:
        config: the content of config.json.
        model: what the user called it.

    Raises: ModelError, naming the field.
    """
    for name, value in _fields(config, ""):
        if CHOICE.fullmatch(name):
            _check_choice(name, value, model)
        elif COUNTED.search(name) and type(value) in (int, float) and value > MOST:
            raise ModelError(
                f"expected at most {MOST:,} as {printable(name)[:80]!r} in the config.json of "
                f"{model!r}, got {brief(value)}. Put the configuration of its weights there."
            )


def _check_choice(name: str, value: object, model: str) -> None:
    known = EXPERTS if "experts" in name else ATTENTION
    if isinstance(value, str) and value not in known:
        raise ModelError(
            f"expected {', '.join(known)} or nothing as {name!r} in the config.json of {model!r}, "
            f"got {printable(brief(value))}, which may be code from elsewhere, and no model's code "
            "is ever run. Remove the field from that file."
        )


def _fields(value: object, name: str) -> Iterator[tuple[str, Any]]:
    """Name and value of every field, at any depth; what a list holds has the list's name."""
    open_: list[tuple[str, Any]] = [(name, value)]
    while open_:
        name, value = open_.pop()
        if isinstance(value, dict):
            inner = CHOICE.fullmatch(name)
            open_.extend((name if inner else str(key), each) for key, each in value.items())
        elif isinstance(value, list):
            open_.extend((name, each) for each in value)
        else:
            yield name, value
