"""Gradual pruning follows its cubic, and what it has pruned stays zero to the end."""

from decimal import Decimal
from typing import Any, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.trained.gradual import GradualSpec, gradual
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from toy_training import RATE, SIZE, STEPS, Toy, lowest

SPARSITY = Decimal("0.8")


def test_the_sparsity_after_each_step_is_the_cubic_of_the_paper() -> None:
    toy = Toy()
    spec = GradualSpec(sparsity=SPARSITY, ramp_start=0.25, ramp_end=0.75, every=2)
    made = gradual(cast(Any, toy), spec, toy.full)
    first, last, final = 5, 15, 0.8
    wanted, now = [], 0
    for done in range(1, STEPS + 1):
        if done % 2 == 0 or done >= last:
            left = 1 - (min(max(done, first), last) - first) / (last - first)
            now = round((final - final * left**3) * SIZE)
        wanted.append(now)
    assert [toy.pruned(step) for step in range(1, STEPS + 1)] == wanted
    assert made.mask.pruned == 48


def test_each_step_is_that_of_a_training_that_masks_and_prunes_by_hand() -> None:
    toy = Toy()
    spec = GradualSpec(sparsity=SPARSITY, ramp_start=0.0, ramp_end=0.5, every=5)
    made = gradual(cast(Any, toy), spec, toy.full)
    weights = {n: w.clone().requires_grad_() for n, w in toy.weights.items()}
    optimizer = torch.optim.AdamW([*weights.values()], lr=RATE, weight_decay=0.0)
    kept = {name: torch.ones_like(w, dtype=torch.bool) for name, w in toy.weights.items()}
    for step in range(STEPS):
        optimizer.zero_grad()
        masked = {name: w * kept[name] for name, w in weights.items()}
        toy.loss(masked, step).backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()
        if step + 1 in (5, 10):
            count = {5: 42, 10: 48}[step + 1]  # 0.8 x (1 - 0.5 ** 3) x 60, and 0.8 x 60
            scores = {n: (w.detach() * kept[n]).abs() for n, w in weights.items()}
            kept = lowest(scores, count)
    assert made.mask == Mask(kept)
    for name, weight in weights.items():
        assert torch.allclose(toy.trained[name], weight.detach() * kept[name], atol=1e-5)


class Wide(Toy):
    """The same with a number of inputs that four divides."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"a": torch.cat([self.weights["a"]] * 4, 1), "b": self.weights["b"]}
        self.inputs = torch.cat([self.inputs] * 4, 2)


@pytest.mark.parametrize(("structure", "halfway"), [("rows", 132), ("1:4", 0)])
def test_what_is_pruned_as_a_whole_is_pruned_to_the_count(structure: str, halfway: int) -> None:
    toy = Wide()
    knobs: dict[str, Any] = {"ramp_start": 0.0, "ramp_end": 1.0, "every": 1}
    spec = GradualSpec(sparsity=Decimal("0.75"), structure=structure, **knobs)
    made = gradual(cast(Any, toy), spec, toy.full)
    assert made.mask.pruned == toy.pruned(STEPS) == 132
    assert toy.pruned(STEPS // 2) == round(0.875 * halfway), "0.875 of the final sparsity"


def test_a_ramp_is_within_the_training_and_has_a_pruning() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    assert FINDERS["gradual"].search(on, GradualSpec(sparsity=SPARSITY), 0).masks
    steps = int(0.8 * on.steps)
    with pytest.raises(SpecError, match=rf"at most the {steps} steps until the final sparsity"):
        FINDERS["gradual"].search(on, GradualSpec(sparsity=SPARSITY, every=steps + 1), 0)
    with pytest.raises(SpecError, match=r"got 0\.9 and 0\.8\. Use 0 <= ramp_start < ramp_end"):
        GradualSpec(ramp_start=0.9)
    with pytest.raises(SpecError, match=r"every must be at least one step, got 0\."):
        GradualSpec(every=0)
