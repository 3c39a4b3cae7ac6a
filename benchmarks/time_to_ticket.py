"""How long a ticket takes, next to other scripts: `python benchmarks/time_to_ticket.py`.

The same search by two scripts of today (`peers.py`) and by tombola, each in a process of its own,
one after another in one run. Every factor has a row of its own: the workers, the runs that
searches share, and the precision. `--quick` is a minute's try of the script itself.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch

from ours import ours
from peers import SETTINGS, padded, trainer
from protocol import DENSE, QUICK, ROUND, STEP, WHOLE, Protocol, alone, machine, matmul_rate

COLD = """
import os, sys, time
from tombola.cli.main import main
from tombola.lab.progress.bar import ProgressBar
def stop(live, job, done, *more):
    if job.steps and done:
        print(time.time(), flush=True)
        os._exit(0)
ProgressBar.step = stop
main(sys.argv[1:])
"""
"""A search that ends with its first step, and says when."""


def cold_start(times: int) -> list[float]:
    """Seconds from the start of `tombola find` to the end of its first step, with a new store."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            command = [sys.executable, "-c", COLD, "find", "--store", f"{folder}/store"]
            command += ["--output", f"{folder}/found"]
            said = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
            found.append(float(said.stdout.split()[-1]) - began)
    return found


def utilisation(row: dict[str, Any], rate: float) -> float:
    """What a side makes of the machine's rate while it trains, counting useful tokens only.

    Six operations for each token and each weight of the scope, as is customary. Ours do less, as
    the last block is computed for the tokens that are read; so this may come out above one.
    """
    seconds = row["training_seconds"] / row.get("workers", 1)
    return float(6 * row["tokens"] * row["scope_size"] / seconds / rate / 1e9)


def rows(
    protocol: Protocol, dense: Protocol, step: Protocol, long: Protocol
) -> dict[str, dict[str, Any]]:
    """Every side and every factor, one after another."""
    apart, half = replace(protocol, rounds=0), replace(step, precision="bf16")
    sides: dict[str, tuple[Any, ...]] = {
        "padded": (padded, protocol),
        "trainer": (trainer, protocol),
        "ours": (ours, protocol),
        "ours, 2 workers": (ours, protocol, 2),
        "ours, its dense runs once more": (ours, apart),
        "trainer, its dense runs once more": (trainer, apart),
        "dense: padded": (padded, dense),
        "dense: trainer": (trainer, dense),
        "dense: ours": (ours, dense),
        "one step: ours, fp32": (ours, step),
        "one step: ours, bf16": (ours, half),
        "one step: trainer, fp32": (trainer, step),
        "one step: trainer, bf16": (trainer, half),
        "one long round: ours": (ours, long),
    }
    made = {}
    for name, (side, *arguments) in sides.items():
        made[name] = alone(side, *arguments)
        print(f"{name}: {made[name]['seconds']:.1f} s", file=sys.stderr, flush=True)
    return made


def ratios(made: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times faster; each factor alone, and all that pay together."""
    seconds = {name: row["seconds"] for name, row in made.items()}
    training = {name: row["training_seconds"] for name, row in made.items()}
    best, more = seconds["ours, 2 workers"], "its dense runs once more"
    return {
        "padded / ours": seconds["padded"] / seconds["ours"],
        "trainer / ours": seconds["trainer"] / seconds["ours"],
        "factor: 2 workers of 1 thread": seconds["ours"] / best,
        "factor: shared runs": 1 + seconds[f"ours, {more}"] / seconds["ours"],
        "factor: bf16": training["one step: ours, fp32"] / training["one step: ours, bf16"],
        "factor: bf16 for trainer": training["one step: trainer, fp32"]
        / training["one step: trainer, bf16"],
        "padded / ours with 2 workers": seconds["padded"] / best,
        "trainer / ours with 2 workers": seconds["trainer"] / best,
        "trainer and its dense runs / ours with 2 workers": (
            seconds["trainer"] + seconds[f"trainer, {more}"]
        )
        / best,
    }


def shares(row: dict[str, Any]) -> dict[str, float]:
    """What each part takes of a search."""
    spent = {"training": row["training_seconds"], **row["spent"]}
    return {part: seconds / row["seconds"] for part, seconds in spent.items()}


def main() -> None:
    """Measure, and report with every setting."""
    quick = "--quick" in sys.argv
    protocol, long = (QUICK, QUICK) if quick else (WHOLE, ROUND)
    dense, step = (replace(QUICK, rounds=0),) * 2 if quick else (DENSE, STEP)
    about = machine()
    before = {threads: alone(matmul_rate, threads) for threads in (1, 2)}
    made = rows(protocol, dense, step, long)
    after = {threads: alone(matmul_rate, threads) for threads in (1, 2)}
    rate = max(before[2], after[2], 2 * before[1], 2 * after[1])
    report = {
        "protocol": protocol.settings(),
        "dense_protocol": dense.settings(),
        "step_protocol": step.settings(),
        "long_protocol": long.settings(),
        "peers": SETTINGS,
        "rows": made,
        "ratios": ratios(made),
        "share_of_a_search": {
            name: shares(made[name]) for name in ("ours", "one long round: ours")
        },
        "matmul_gflops": {"before": before, "after": after, "best_of_2_threads": rate},
        "utilisation": {
            name: utilisation(row, rate) for name, row in made.items() if "one step" not in name
        },
        "cold_start_seconds": cold_start(1 if quick else 2),
        "machine": about,
        "threads_of_torch": torch.get_num_threads(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
