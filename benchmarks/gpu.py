"""Training on a CUDA card next to transformers' `Trainer`: `python benchmarks/gpu.py`.

Every training is a process of its own. Its first epoch or two are not timed, as shapes are compiled
and captured in them; then come three timed stretches, of which the median counts, and a few steps
under the profiler. Both sides see the same texts, in batches of like length, and the tokens are
counted without padding; ours trains under a mask of half the weights, and `Trainer`, with fused
AdamW and its other defaults, without any. The card's rate is that of an 8192 x 8192 product in
bfloat16. A step is counted as 6 operations for each token and weight of the blocks' linear layers
and 12 x length x width for each token and block in attention, whether or not the last block skips
tokens that the head doesn't read; `of_rate_done` leaves out what it skips.

    python benchmarks/gpu.py --output gpu.json            also writes gpu.kernels.txt
    python benchmarks/gpu.py --dry-run --output try.json  tiny sizes, uncompiled, on a CPU as well
    python benchmarks/gpu.py --only "BERT-base bf16"      some of the parts
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from card.facts import card_facts
from card.guard import Guard
from card.report import kernel_table, page, ratios
from card.rows import Row, keep_large
from card.seeds import mps_control, run_seeds
from card.sides import SIDES
from tombola.cli.main import QUIET

LARGE, MINI = "BERT-base", "mini"
PROFILER = {"DISABLE_CUPTI_LAZY_REINIT": "1", "TEARDOWN_CUPTI": "0"}
"""What torch itself sets where recorded graphs are profiled more than once."""
LEAST = 6.0
"""Seconds that must be left for a part to begin."""


def rows(large: str, dry: bool) -> dict[str, Row]:
    """The trainings, the most telling ones first."""
    if dry:
        tiny = Row(large, "bf16", epoch=4, warm=1, profiled=1, texts=4, length=16)
        return {
            f"{LARGE} bf16": tiny,
            f"{MINI} fp32": replace(tiny, name=MINI, precision="fp32"),
        }
    big = Row(large, "bf16", epoch=50, warm=1, profiled=20)
    small = Row(MINI, "bf16", epoch=100, warm=2, profiled=20)
    return {
        f"{LARGE} bf16": big,
        f"{MINI} bf16": small,
        f"{MINI} fp32": replace(small, precision="fp32"),
        f"{LARGE} fp32": replace(big, precision="fp32", epoch=24),
    }


def measure(found: dict[str, Any], guard: Guard, dry: bool) -> None:
    """Everything, as far as the time goes; last what takes minutes to compile on a CPU."""
    found["machine"] = guard("card", card_facts, 256 if dry else 8192) or {}
    with tempfile.TemporaryDirectory() as place:
        guard("random network", keep_large, Path(place), dry)
        wanted = rows(place, dry)
        made = found["rows"] = {name: {} for name in wanted}
        for name, row in wanted.items():
            for side in ("ours", "trainer"):
                made[name][side] = guard(f"{name}, {side}", SIDES[side], row)
        for name, row in wanted.items():
            if name.startswith(LARGE):
                made[name]["plain"] = guard(f"{name}, plain", SIDES["plain"], row)
        seeds(found["seeds"], guard, dry)
        for name, row in wanted.items():
            if row.precision == "bf16" and not (dry and "compiled" not in guard.only):
                compiled = replace(row, compile=True)
                made[name]["compiled"] = guard(f"{name}, compiled", SIDES["ours"], compiled)


def seeds(found: dict[str, Any], guard: Guard, dry: bool) -> None:
    """Some seeds one after another, together, and together by the Multi-Process Service."""
    count, examples, epochs = (2, 32, 1) if dry else (8, 3200, 3)
    runs = {"1 worker": (1, False), f"{count} workers": (count, False)}
    if mps_control():
        runs[f"{count} workers, MPS"] = (count, True)
    for name, (workers, mps) in runs.items():
        asked = {"workers": workers, "limit": guard.left - 2, "mps": mps}
        found[name] = guard(f"seeds, {name}", run_seeds, count, examples, epochs, **asked)


def asked(words: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", metavar="FILE", type=Path, help="write all numbers as JSON")
    parser.add_argument("--seconds", metavar="N", type=float, default=150, help="for everything")
    parser.add_argument("--only", metavar="TEXT", default="", help="parts with it in their names")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, with or without a card")
    given = parser.parse_args(words)
    if not given.dry_run and not torch.cuda.is_available():
        parser.error("expected a CUDA device, got none. Use --dry-run to try the script.")
    return given


def write(found: dict[str, Any], output: Path) -> None:
    """All numbers as JSON, and the kernels of the large network as text next to it."""
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    ours = found["rows"].get(f"{LARGE} bf16", {}).get("ours")
    output.with_suffix(".kernels.txt").write_text(kernel_table(ours), encoding="utf-8")


def main(words: list[str] | None = None) -> None:
    """Measure, write on the way, and print short tables last."""
    given = asked(words)
    os.environ.update(QUIET | PROFILER)
    found: dict[str, Any] = {"machine": {}, "rows": {}, "seeds": {}}

    def keep() -> None:
        if given.output:
            write(found, given.output)

    guard = Guard(given.seconds, LEAST, given.only, keep)
    measure(found, guard, given.dry_run)
    found |= {"ratios": ratios(found), "failed": guard.failed}
    keep()
    print(page(found))


if __name__ == "__main__":
    main()
