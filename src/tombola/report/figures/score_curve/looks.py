"""Colour and shape of each network's marks."""

from typing import TypeAlias

from tombola.report.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION

__all__ = ["TICKET", "Look", "look_of"]

Look: TypeAlias = tuple[str, str]
"""A colour and a shape."""

TICKET: Look = (BLUE, "circle")

# shapes tell the networks apart as well
CONTROLS = {
    "random": (VERMILION, "square"),
    "layer-random": (ORANGE, "diamond"),
    "one-shot": (GREEN, "triangle-up"),
    "reinit": (PURPLE, "triangle-down"),
    "shuffle": (SKY_BLUE, "cross"),
    "random-init": (BLACK, "triangle-right"),
    "shuffle-layers": (BLACK, "triangle-left"),
    "small-dense": (BLACK, "wedge"),
    "permuted-mask": (ORANGE, "arrow"),
    "signs": (PURPLE, "M-1,-0.3H1V0.3H-1Z"),
}
OTHER = (BLACK, "arrow")


def look_of(control: str) -> Look:
    """Colour and shape of a control's marks."""
    return CONTROLS.get(control, OTHER)
