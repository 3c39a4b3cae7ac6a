"""Whether our networks learn as the others do: `python benchmarks/accuracy.py`.

Dense networks on 1,024 examples and one thread, the same seeds on every side, which draw heads,
orders and dropout of their own. So short a training fails on some seeds, so single scores say
nothing. Writes accuracy-results.json after each side and leaves out what is there, and then the
table of the page on performance; half an hour, and no part of `make bench`.

python benchmarks/accuracy.py --quick    try it in a minute; prints, and writes nothing
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ours import ours
from peers import trainer
from protocol import DENSE, Protocol, alone, machine

HERE = Path(__file__).parent
RESULTS = HERE / "accuracy-results.json"
PAGE = HERE.parent / "docs" / "explanation" / "performance.md"
START, END = "<!-- accuracy: start -->", "<!-- accuracy: end -->"
SHORT: Mapping[str, Any] = {"seeds": (0, 1), "examples": 64, "test_examples": 32}
WHOLE: Mapping[str, Any] = {"seeds": tuple(range(20)), "examples": 1024, "test_examples": 512}
SIDES: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "`packed-3`": (ours, {"kernel": "packed-3"}),
    "`packed-3` in bf16": (ours, {"kernel": "packed-3", "precision": "bf16"}),
    "`packed-1`": (ours, {"kernel": "packed-1"}),
    "*Trainer*": (trainer, {}),
}
STARTED = 60.0
"""A network with a lower accuracy has not started to learn; two classes are even at 50."""


def scores(side: str, protocol: Protocol) -> dict[str, Any]:
    """The accuracy of each seed, and where it comes from."""
    do, changes = SIDES[side]
    found = alone(do, replace(protocol, **changes))
    return {"scores": found["dense"], "machine": machine()}


def table(results: Mapping[str, Any]) -> str:
    """A line for each side: quartiles over seeds, and how many have not started to learn."""
    lines = [
        "| | seeds | median | quartiles | under 60 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for side, found in results.items():
        first, middle, third = statistics.quantiles(found["scores"], n=4, method="inclusive")
        failed = sum(score < STARTED for score in found["scores"])
        lines.append(
            f"| {side} | {len(found['scores'])} | {middle:.1f} "
            f"| {first:.1f} to {third:.1f} | {failed} |"
        )
    return "\n".join(lines) + "\n"


def written(page: str, results: Mapping[str, Any]) -> str:
    """A page with the table between its two marks."""
    before, rest = page.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n\n{table(results)}\n{END}{after}"


def main() -> None:
    """Train all sides, and report every score."""
    if "--quick" in sys.argv:
        quick = replace(DENSE, threads=1, **SHORT)
        print(table({side: scores(side, quick) for side in SIDES}))
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for side in (name for name in SIDES if name not in results):
        results[side] = scores(side, replace(DENSE, threads=1, **WHOLE))
        ordered = {name: results[name] for name in SIDES if name in results}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    page = written(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text("utf-8")))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
