"""The protocol as tombola follows it."""

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocol import Protocol
from tombola.finders.finder import FINDERS
from tombola.lab.options import find_options
from tombola.lab.run import perform as jobs
from tombola.lab.run import workspace
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import results
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.plan import Plan
from tombola.plan.search import finding

__all__ = ["ours", "search"]


def ours(protocol: Protocol, workers: int = 1) -> dict[str, Any]:
    """The search by tombola.

    Args:
        protocol: what is done.
        workers: processes that share the jobs, and the threads.
    """
    spent: dict[str, float] = defaultdict(float)
    folder = Path(tempfile.mkdtemp())
    try:
        with _watched(spent):
            began = time.perf_counter()
            found = search(protocol, folder / "store", workers)
            seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    return {"seconds": seconds, "workers": workers, "spent": dict(spent), **found}


def search(protocol: Protocol, place: Path, workers: int = 1) -> dict[str, Any]:
    """Do it in a store, and tell what came of it."""
    asked = find_options(
        {
            "model": protocol.model,
            "task": protocol.task,
            "seeds": protocol.seeds,
            "controls": (),
            "sparsity": protocol.sparsity or "0.1",
            "epochs": protocol.epochs,
            "batch_size": protocol.batch_size,
            "learning_rate": protocol.learning_rate,
            "warmup": protocol.warmup,
            "clip_norm": protocol.clip_norm,
            "max_length": protocol.max_length,
            "train_limit": protocol.examples,
            "test_limit": protocol.test_examples,
            "precision": protocol.precision,
            "kernel": protocol.kernel,
            "store": str(place),
            "workers": workers,
            "threads": protocol.threads // workers,
        }
    )
    spec, prune = asked.search, asked.prune
    subject = SubjectFactory(place).subject(
        spec.model, asked.task, asked.recipe, scope=spec.scope, folder=None
    )
    finder = FINDERS[spec.finder]
    wanted = finding(
        subject, spec, prune.sparsity, lambda seed: finder.search(subject, prune, seed)
    )
    dense = [search.dense for search in wanted.searches.values()]
    tickets = [search.trainings[prune.sparsity] for search in wanted.searches.values()]
    plan = wanted.plan if protocol.rounds else Plan.of(dense)
    store, summary = run_plan(plan, asked.lab, RunCallback())
    for _, error in summary.failed:
        raise error
    done = results(store, [job for job in plan.jobs if job.kind == "train"])
    return {
        "training_seconds": sum(result.facts["training_seconds"] for result in done),
        "tokens": sum(result.facts["tokens"] for result in done),
        "scope_size": done[0].facts["scope_size"],
        "trainings": len(done),
        "numerics": done[0].numerics,
        "dense": [result.facts["score"] for result in results(store, dense)],
        "ticket": [r.facts["score"] for r in results(store, tickets)] if protocol.rounds else [],
    }


@contextmanager
def _watched(spent: dict[str, float]) -> Iterator[None]:
    """Measure the parts of a search that train nothing, as far as this process does them."""
    parts: dict[str, tuple[Any, str]] = {
        "evaluation": (jobs, "predict"),
        "pruning": (jobs, "pruned"),
        "tokenisation": (workspace, "encode_split"),
        "loading": (workspace, "load_network"),
        "reading weights": (jobs, "trained_weights"),
        "keeping weights": (jobs, "_keep_weights"),
        "storing": (Store, "save"),
    }
    kept = {part: getattr(*place) for part, place in parts.items()}

    def timed(part: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return do(*arguments, **more)
            finally:
                spent[part] += time.perf_counter() - began

        return call

    try:
        for part, (owner, name) in parts.items():
            setattr(owner, name, timed(part, kept[part]))
        yield
    finally:
        for part, (owner, name) in parts.items():
            setattr(owner, name, kept[part])
