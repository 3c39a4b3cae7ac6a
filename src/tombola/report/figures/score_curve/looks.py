"""Colour and shape of each network's marks."""

from typing import TypeAlias

__all__ = ["TICKET", "Look", "look_of"]

Look: TypeAlias = tuple[str, str]
"""A colour and a shape."""

TICKET: Look = ("#0072B2", "circle")

# Okabe and Ito's palette, distinct in any colour vision; shapes tell the networks apart as well.
CONTROLS = {
    "random": ("#D55E00", "square"),
    "layer-random": ("#E69F00", "diamond"),
    "one-shot": ("#009E73", "triangle-up"),
    "reinit": ("#CC79A7", "triangle-down"),
    "shuffle": ("#56B4E9", "cross"),
    "random-init": ("#000000", "triangle-right"),
    "shuffle-layers": ("#000000", "triangle-left"),
    "small-dense": ("#000000", "wedge"),
    "permuted-mask": ("#E69F00", "arrow"),
    "signs": ("#CC79A7", "M-1,-0.3H1V0.3H-1Z"),
}
OTHER = ("#000000", "arrow")


def look_of(control: str) -> Look:
    """Colour and shape of a control's marks."""
    return CONTROLS.get(control, OTHER)
