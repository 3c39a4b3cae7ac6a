"""The habits of the paper's research code, done by hand, make the masks that its options make."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from tombola.base.specs import CourseSpec, LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.payload import payload_for
from tombola.lab.run.runner import run_plan
from tombola.lab.run.workspace import Workspace
from tombola.lab.store.artifacts import read_mask
from tombola.lab.subjects import SubjectFactory
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.training.loop import fit

SEED = 5
ROUNDS = (Decimal("0.3"), Decimal("0.6"))
RECIPE = TrainSpec(epochs=1, batch_size=16, learning_rate=1e-2, max_length=30)
LAB = LabSpec(threads=1)
OPTIONS = ("keep_head", "no_rewind", "long_horizon", "prune_first")


@pytest.fixture(scope="module")
def subject(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    known, task = SubjectFactory(tmp_path_factory.mktemp("known")), load_task("sentiment")
    return known.subject(str(tiny), task, RECIPE, scope="encoder", folder=str(reviews))


@pytest.fixture(scope="module")
def workspace(subject: Subject) -> Workspace:
    search = FINDERS["imp"].search(subject, ImpSpec(sparsity=ROUNDS[0]), SEED)
    return Workspace.open(payload_for(search.dense, keep_weights=False, threads=1, processes=1))


def by_hand(workspace: Workspace, *options: str) -> list[Mask]:
    """The mask of each round of a loop that trains, prunes and rewinds one network."""
    network, mask = workspace.network, workspace.full("encoder")
    masks: list[Mask] = []
    spec = replace(RECIPE, seed=SEED)
    horizon = len(ROUNDS) + 1 if "long_horizon" in options else 1
    network.rewind(SEED)
    for sparsity in ROUNDS:
        if masks or "prune_first" not in options:
            examples, course = workspace.training(spec), CourseSpec(horizon=horizon)
            fit(network, workspace.task, examples, mask, spec, scope="encoder", course=course)
        weights = {name: p.detach().abs() for name, p in network.scope("encoder").items()}
        mask = keep_top(weights, mask, sparsity=sparsity)
        masks.append(mask)
        trained = network.weights()
        if "no_rewind" not in options:
            network.rewind(SEED)
        if "keep_head" in options:
            network.load(trained, only_head=True)
    return masks


@pytest.fixture(scope="module")
def habits(workspace: Workspace) -> dict[str, list[Mask]]:
    """Option, or none -> the masks of its loop."""
    torch.set_num_threads(LAB.threads)  # as in the jobs: bits depend on it
    return {"": by_hand(workspace)} | {option: by_hand(workspace, option) for option in OPTIONS}


@pytest.mark.parametrize("option", ["", *OPTIONS])
def test_an_option_is_the_habit_done_by_hand_and_no_other_is(
    option: str, habits: dict[str, list[Mask]], subject: Subject, tmp_path: Path
) -> None:
    options: dict[str, Any] = {option: True} if option else {}
    search = FINDERS["imp"].search(
        subject, ImpSpec(sparsity=ROUNDS[-1], step=ROUNDS[0], **options), SEED
    )
    lab = replace(LAB, store=str(tmp_path / "store"))
    store, summary = run_plan(Plan.of(search.masks.values()), lab, RunCallback())
    assert not summary.failed
    found = [read_mask(store, search.masks[sparsity].key) for sparsity in ROUNDS]
    assert [name for name, masks in habits.items() if masks == found] == [option]
