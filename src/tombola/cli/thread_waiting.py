"""How OpenMP threads wait for one another, which must be set before torch is loaded.

This changes the speed, never the results. A spinning thread reacts sooner, but on a busy machine it
takes CPU time from the very threads that it waits for.
"""

import os
from collections.abc import Mapping

__all__ = ["load_share", "waiting"]

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables with which the user may have set it."""

SHORT_SPIN = {"GOMP_SPINCOUNT": "10000"}
"""Long enough to reach the next matrix product on an idle machine, which may not stay idle."""

NO_SPIN = {"OMP_WAIT_POLICY": "PASSIVE"}

BUSY = 0.25
"""Share of the machine that other programs must use before threads stop spinning."""


def waiting(environment: Mapping[str, str], busy: float) -> dict[str, str]:
    """Environment variables that make threads spin briefly, or not at all on a busy machine.

    Args:
        environment: the environment of this process; what the user set there wins.
        busy: share of the machine's cores that is in use, as `load_share` measures it.
    """
    if any(name in environment for name in NAMES):
        return {}
    return NO_SPIN if busy >= BUSY else SHORT_SPIN


def load_share() -> float:
    """Load average of the last minute per core; 0 where the system has none."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # no such call, or no answer
        return 0.0
