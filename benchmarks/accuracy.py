"""Whether our networks learn as the others do: `python benchmarks/accuracy.py`.

Dense networks on 1,024 examples, the same seeds on both sides, which draw heads, orders and dropout
of their own. So short a training fails on some seeds, so single scores say nothing. Takes seven
minutes and is no part of `make bench`.
"""

import json
import statistics
import sys
from dataclasses import replace
from typing import Any

from ours import ours
from peers import trainer
from protocol import DENSE, alone, machine

SEEDS = tuple(range(6))


def main() -> None:
    """Train both sides, and report every score."""
    short: dict[str, Any] = {"seeds": SEEDS[:2], "examples": 64, "test_examples": 32}
    whole: dict[str, Any] = {"seeds": SEEDS, "examples": 1024, "test_examples": 512}
    protocol = replace(DENSE, **(short if "--quick" in sys.argv else whole))
    scores = {side.__name__: alone(side, protocol)["dense"] for side in (ours, trainer)}
    report = {
        "protocol": protocol.settings(),
        "scores": scores,
        "medians": {side: statistics.median(each) for side, each in scores.items()},
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
