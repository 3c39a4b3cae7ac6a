"""What the store costs: `python benchmarks/store.py [FOLDER]`, by default in the working folder.

A job is claimed, saved with two files and released, against what the disk takes to sync that many
files and folders one by one; then 100,000 results, made without syncing, are listed and filtered,
with no index, with an old one, and with one that is up to date, against reading every result.
"""

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tombola.base import keys
from tombola.base.files import sync
from tombola.lab.store.result import Result, encode
from tombola.lab.store.result_store import Store

JOBS = 100
RESULTS = 100_000
FILES = {"mask.safetensors": bytes(100_000), "shapes.json": bytes(4_000)}
SYNCS = 5
"""Files and folders that saving such a job syncs: two files, result.json, and two folders."""


def result(number: int) -> Result:
    """A training as the laboratory keeps it."""
    train = {"seed": number, "epochs": 4.0, "max_length": 64}
    spec = {"model": "0a" * 32, "data": "1b" * 32, "task": ["sentiment", 1], "train": train}
    parents = {"mask": f"{number:064x}"}
    facts = {
        "task": "sentiment",
        "metric": "accuracy",
        "seed": number,
        "score": 80.0,
        "trivial": 50.0,
        "sparsity": "0.7",
        "dead": 4_400_000,
        "steps": 375,
        "tokens": 300_000,
        "weights": "2c" * 32,
        "loss": [0.5] * 20,
    }
    return Result(
        key=keys.key("train", 1, **spec, parents=parents),
        kind="train",
        job_version=1,
        spec=spec,
        parents=parents,
        label=f"sentiment, seed {number}, IMP at 0.7",
        facts=facts,
        numerics={"threads": 1, "torch": "2.9.0", "processes": 1},
        seconds=60.0,
        peak_memory=2**30,
    )


def seconds(do: Callable[[], Any]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def one_job(store: Store, number: int) -> None:
    """Claim, save and release."""
    one = result(number)
    lease = store.claim(one.key)
    assert lease is not None
    store.save(one, FILES)
    lease.release()


def plain(folder: Path, number: int) -> None:
    """Write and sync as many files and folders, one after another."""
    inner = folder / f"plain-{number}"
    inner.mkdir()
    for name in ("a", "b", "c"):
        (inner / name).write_bytes(bytes(30_000))
        sync(inner / name)
    sync(inner)
    sync(folder)


def fill(store: Store, results: range) -> None:
    """Put results into a store without syncing."""
    for number in results:
        one, about = encode(result(number))
        place = store.file(one.key, "result.json")
        place.parent.mkdir(parents=True)
        place.write_bytes(about)


def jobs(folder: Path) -> dict[str, float]:
    """Milliseconds of a job and of plain syncing, in turns."""
    store = Store(folder / "jobs")
    ours, theirs = [], []
    for number in range(JOBS):
        ours.append(1000 * seconds(partial(one_job, store, number)))
        theirs.append(1000 * seconds(partial(plain, folder, number)))
    return {
        "ms_a_job": statistics.median(ours),
        "ms_a_job_90_percent": statistics.quantiles(ours, n=10)[-1],
        f"ms_of_{SYNCS}_syncs": statistics.median(theirs),
        "ratio": statistics.median(theirs) / statistics.median(ours),
    }


def lists(folder: Path) -> dict[str, float]:
    """Seconds of listing many results."""
    store = Store(folder / "lists")
    fill(store, range(RESULTS - 10))
    found = {"s_to_build_the_index": seconds(store.rows)}
    fill(store, range(RESULTS - 10, RESULTS))
    found["s_with_10_new_results"] = seconds(store.rows)
    several = [seconds(lambda: store.rows(task="sentiment", seed=7)) for _ in range(5)]
    found["s_to_list_and_filter"] = statistics.median(several)
    keys = [row["key"] for row in store.rows()]
    found["s_to_read_every_result"] = seconds(lambda: [store.read(key) for key in keys])
    found["index_mb"] = (store.folder / "index.jsonl").stat().st_size / 2**20
    found["ratio"] = found["s_to_read_every_result"] / found["s_to_list_and_filter"]
    assert len(keys) == RESULTS
    return found


def main() -> None:
    """Measure, and report with the machine."""
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if sys.argv[1:] else "."))
    try:
        report = {"job": jobs(folder), "list": lists(folder), "results": RESULTS}
    finally:
        shutil.rmtree(folder)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    print(json.dumps({**report, **machine}, indent=1))


if __name__ == "__main__":
    main()
