"""Searches that take seconds, and what tests ask of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import BertConfig, BertModel

from tombola import api
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result import Result
from tombola.plan.job import Job

__all__ = ["RECIPE", "Find", "Recorder", "files", "other_model", "quick_find"]

Find = Callable[..., api.SearchResult]
RECIPE: dict[str, Any] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2}


def quick_find(model: Path, data: Path, store: str) -> Find:
    """`tombola.find` with a small recipe."""
    small = {"model": str(model), "data": data, "sparsity": 0.5, "step": 0.25, "store": store}
    return lambda **options: api.find(**{**small, **RECIPE, **options})


class Recorder(RunCallback):
    """Remembers which trainings were done and which were reused from the store."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.kept: list[str] = []

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        self.kept = [job.label for job in done if job.kind == "train"]

    def on_job_end(self, job: Job, result: Result) -> None:
        if job.kind == "train":
            self.done.append(job.label)


def other_model(folder: Path, tiny: Path, **changes: Any) -> str:
    """A network like `tiny`, with other weights."""
    shutil.copytree(tiny, folder)
    config = BertConfig.from_pretrained(tiny)
    for name, value in changes.items():
        setattr(config, name, value)
    BertModel(config).save_pretrained(folder)
    return str(folder)


def files(folder: Path | str) -> dict[str, bytes]:
    places = sorted(Path(folder).rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in places if path.is_file()}
