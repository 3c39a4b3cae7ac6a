"""A soup keeps what most short trainings keep."""

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from test_resumed_masks import job_of

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, PruneSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.finders.layout import Layout
from tombola.finders.learning_rate_rewinding import LearningRateRewindingSpec
from tombola.finders.trained.soup import SoupSpec, soup
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors

HALF = Decimal("0.5")


class Members:
    """Three trainings of six weights."""

    layout = Layout()
    found = (
        torch.tensor([[9.0, 8, 7, 1, 2, 3]]),
        torch.tensor([[9.0, 1, 2, 8, 7, 3]]),
        torch.tensor([[1.0, -9, 2, -8, 3, 4]]),
    )

    def train(self, *, parts: int, part: int) -> Tensors:
        assert parts == 3
        return {"w": self.found[part]}


def test_votes_decide_and_then_the_size_of_the_mean_weight() -> None:
    spec = SoupSpec(sparsity=HALF, members=3)
    full = Mask({"w": torch.ones(1, 6, dtype=torch.bool)})
    made = soup(cast(Any, Members()), spec, full)
    kept = [{0, 1, 2}, {0, 3, 4}, {1, 3, 5}]
    votes = [sum(n in each for each in kept) for n in range(6)]
    assert votes == [2, 2, 1, 2, 1, 1]
    assert made.mask["w"].tolist() == [[True, True, False, True, False, False]]
    assert made.facts == {"shared_by_members": round((1 / 3) * 3 / 3, 6)}
    two_thirds = soup(cast(Any, Members()), SoupSpec(sparsity=Decimal(4) / 6, members=3), full)
    assert two_thirds.mask.pruned == 4


def test_members_begin_at_one_point_and_see_other_orders(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    class Watched(RunCallback):
        def on_job_step(self, job: Any, done: int, steps: int, loss: float | None) -> None:
            seen.append(done)

    job = job_of("soup", tiny, reviews, tmp_path)
    lab = LabSpec(store=str(tmp_path / "store"), threads=1)
    store, summary = run_plan(Plan.of([job]), lab, Watched())
    assert [str(error) for _, error in summary.failed] == []
    assert seen == [*range(1, 13)]
    found = store.read(job.key)
    assert found is not None
    assert 0.5 < found.facts["shared_by_members"] < 1
    assert read_mask(store, job.key).pruned == round(0.7 * read_mask(store, job.key).size)


def test_bad_knobs_are_one_line() -> None:
    with pytest.raises(SpecError, match=r"members must be 2 or more, got 1\. For one, use imp"):
        SoupSpec(members=1)
    task = load_task("sentiment")
    with pytest.raises(SpecError, match=r"members must be at most the \d+ steps that they"):
        FINDERS["soup"].search(subject(task, task.recipe), SoupSpec(members=1000), 0)


def test_learning_rate_rewinding_is_imp_that_never_rewinds() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    specs: dict[str, PruneSpec] = {
        "imp": ImpSpec(sparsity=HALF, no_rewind=True),
        "learning-rate-rewinding": LearningRateRewindingSpec(sparsity=HALF),
    }
    searches = [FINDERS[name].search(on, spec, 0) for name, spec in specs.items()]
    keys = [[job.key for job in search.trainings.values()] for search in searches]
    assert keys[0] == keys[1]
    assert "learning-rate rewinding" in searches[1].trainings[HALF].label
    assert "standard pruning" in searches[0].trainings[HALF].label
    with pytest.raises(SpecError, match="never rewinds weights"):
        LearningRateRewindingSpec(no_rewind=False)
