"""Colour and shape of each network's marks."""

from tombola.report.figures.style import DENSE

__all__ = ["TICKET", "look_of"]

TICKET = ("#0072B2", "circle")

# Okabe and Ito's palette, distinct in any colour vision; shapes tell the networks apart as well.
LOOKS = {
    "dense": (DENSE, "circle"),
    "IMP": TICKET,
    "random": ("#D55E00", "square"),
    "layer-random": ("#E69F00", "diamond"),
    "one-shot": ("#009E73", "triangle-up"),
    "reinit": ("#CC79A7", "triangle-down"),
    "shuffle": ("#56B4E9", "cross"),
}
OTHER = ("#000000", "triangle-right")


def look_of(network: str) -> tuple[str, str]:
    """Colour and shape of a network's marks, by its name."""
    return LOOKS.get(network, OTHER)
