"""What the laboratory costs a user: `python benchmarks/lab.py`.

How long it takes until `--help` is there, against an interpreter that does nothing; and the largest
memory of searches with several rounds, each in its own process, against one round.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version

ROUNDS = (1, 8, 24)
TOMBOLA = (sys.executable, "-m", "tombola")
SHORT = (
    *("--train-limit", "32", "--test-limit", "32", "--batch-size", "16", "--epochs", "1"),
    *("--max-length", "24", "--controls", "none", "--threads", "1"),
)


def seconds(command: Sequence[str]) -> float:
    """Median of nine runs."""
    times = []
    for _ in range(9):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def megabytes(rounds: int) -> float:
    """Largest resident memory of a search, measured by a process that starts nothing else."""
    sparsities = ",".join(f"{(number + 1) / 100:.2f}" for number in range(rounds))
    with tempfile.TemporaryDirectory() as scratch:
        places = ("--store", f"{scratch}/store", "--output", f"{scratch}/found")
        find = [*TOMBOLA, "find", "--rounds", sparsities, *SHORT, *places]
        said = subprocess.run(
            [sys.executable, __file__, *find], check=True, stdout=subprocess.PIPE, text=True
        )
    return float(said.stdout.splitlines()[-1])


def peak(command: Sequence[str]) -> None:
    """Run a command and print its largest resident memory in MB."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit)


def main() -> None:
    """Measure, and report with the machine."""
    bare = seconds([sys.executable, "-c", ""])
    helps = {verb: seconds([*TOMBOLA, *verb.split(), "--help"]) for verb in ("", "find", "run")}
    memory = {rounds: megabytes(rounds) for rounds in ROUNDS}
    report = {
        "s_help": {f"{verb} --help".strip(): round(took, 3) for verb, took in helps.items()},
        "s_python": round(bare, 3),
        "help_ratio": round(max(helps.values()) / bare, 2),
        "peak_mb_by_rounds": {str(rounds): round(size) for rounds, size in memory.items()},
        "memory_ratio": round(memory[ROUNDS[-1]] / memory[ROUNDS[0]], 3),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    peak(sys.argv[1:]) if sys.argv[1:] else main()
