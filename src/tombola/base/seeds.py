"""Seeds for separate random streams."""

import hashlib

__all__ = ["derive_seed"]


def derive_seed(seed: int, purpose: str) -> int:
    """The seed of one purpose, so that no two random streams of a run are correlated.

    Args:
        seed: the seed of the run.
        purpose: what is drawn, such as "head" or "order".
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
