"""How threads wait for one another, which must be said before torch is loaded.

It decides speed and never bits: a thread that spins answers sooner, and where other programs want
the same cores it takes them the time in which they would have made it ready.
"""

import os
from collections.abc import Mapping

__all__ = ["load_share", "waiting"]

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What a user may have said about it."""

SHORT_SPIN = {"GOMP_SPINCOUNT": "10000"}
"""Long enough for the next product on an idle machine; others may come after the start."""

NO_SPIN = {"OMP_WAIT_POLICY": "PASSIVE"}

BUSY = 0.25
"""Share of the machine that others must use before threads stop spinning."""


def waiting(environment: Mapping[str, str], busy: float) -> dict[str, str]:
    """Variables to add, so that threads hardly spin, and not at all where others use the machine.

    Args:
        environment: of this process; what the user has said there holds.
        busy: share of the machine's cores that is in use, as `load_share` gives it.
    """
    if any(name in environment for name in NAMES):
        return {}
    return NO_SPIN if busy >= BUSY else SHORT_SPIN


def load_share() -> float:
    """Processes that wanted a core over the last minute, for each core; 0 where nobody counts."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # no such call, or no answer
        return 0.0
