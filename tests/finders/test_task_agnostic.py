"""The mask learns from what pre-training gave the network, and from no task."""

from dataclasses import replace
from decimal import Decimal
from math import sqrt
from typing import Any, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.trained.task_agnostic import TaskAgnosticSpec, task_agnostic
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from toy_training import SIZE, STEPS, Toy, by_matrix

SPARSITY = Decimal("0.6")
KEPT = round(0.4 * SIZE)
RATE = 3e-4


def test_the_mask_learns_as_autograd_has_it_from_the_largest_weights() -> None:
    toy = Toy()
    spec = TaskAgnosticSpec(sparsity=SPARSITY, score_learning_rate=RATE)
    made = task_agnostic(cast(Any, toy), spec, toy.full)
    largest = by_matrix({n: w.abs() for n, w in toy.weights.items()}, KEPT)
    scores = {n: (0.02 * largest[n].float()).requires_grad_() for n in toy.weights}
    optimizer = torch.optim.Adam([*scores.values()])
    kept = {name: torch.ones_like(w) for name, w in toy.weights.items()}
    for step in range(STEPS):
        optimizer.zero_grad()
        masked = {n: w * (kept[n] + scores[n] - scores[n].detach()) for n, w in toy.weights.items()}
        toy.loss(masked, step).backward()
        optimizer.param_groups[0]["lr"] = RATE * sqrt(27_920 / STEPS) * (1 - step / STEPS)
        optimizer.step()
        mask = by_matrix({name: score.detach() for name, score in scores.items()}, KEPT)
        kept = {name: each.float() for name, each in mask.items()}
    assert made.mask == Mask(mask)
    assert made.mask != Mask(largest), "some of the largest weights made room for others"
    assert toy.feature_distill == 0.5
    for name, weight in toy.weights.items():
        assert torch.equal(toy.trained[name], weight * kept[name]), "no weight has learned"


def test_the_sparsity_is_exact_from_the_first_step_on() -> None:
    toy = Toy()
    task_agnostic(cast(Any, toy), TaskAgnosticSpec(sparsity=SPARSITY), toy.full)
    assert {toy.pruned(step) for step in range(1, STEPS + 1)} == {SIZE - KEPT}


@pytest.mark.parametrize(
    ("task", "distill", "reason"),
    [
        ("sentiment", 0.0, r"learns from masked tokens, and the task sentiment has labels\. Find"),
        ("mlm", 0.5, r"learns from the pre-trained network, got distill 0\.5, which is another"),
    ],
)
def test_labels_and_other_teachers_are_refused_before_any_training(
    task: str, distill: float, reason: str
) -> None:
    finder, about = FINDERS["task-agnostic"], subject(load_task(task), TrainSpec(distill=distill))
    with pytest.raises(SpecError, match=reason):
        finder.search(about, finder.spec(), 0)


def test_a_head_of_random_weights_is_refused_unless_it_is_not_used() -> None:
    finder, about = FINDERS["task-agnostic"], subject(load_task("mlm"), TrainSpec())
    headless = replace(about, drawn_head=("cls.dense.weight", "cls.dense.bias"))
    with pytest.raises(SpecError, match=r"files of 'mini' lack its cls\.dense\.weight\. Use") as e:
        finder.search(headless, finder.spec(), 0)
    assert "\n" not in str(e.value)
    alone = TaskAgnosticSpec(sparsity=SPARSITY, feature_distill=1)
    whole, none = (finder.search(each, alone, 0) for each in (about, headless))
    assert whole.masks[SPARSITY].key == none.masks[SPARSITY].key


def test_texts_alone_may_be_those_of_any_task() -> None:
    finder, about = FINDERS["task-agnostic"], subject(load_task("sentiment"), TrainSpec())
    search = finder.search(about, TaskAgnosticSpec(sparsity=SPARSITY, feature_distill=1), 0)
    assert search.masks[SPARSITY].steps == about.steps


@pytest.mark.parametrize("share", [1.5, -0.1])
def test_a_share_of_the_loss_is_a_share(share: float) -> None:
    with pytest.raises(SpecError, match=r"feature_distill must be between 0 and 1, got"):
        TaskAgnosticSpec(feature_distill=share)


@pytest.mark.parametrize(("parts", "version"), [(1, 1), (2, 2)])
def test_masks_of_batches_in_parts_are_told_apart_from_earlier_ones(
    parts: int, version: int
) -> None:
    finder, about = (
        FINDERS["task-agnostic"],
        subject(load_task("mlm"), TrainSpec(accumulation=parts)),
    )
    search = finder.search(about, TaskAgnosticSpec(sparsity=SPARSITY), 0)
    assert search.masks[SPARSITY].version == version
