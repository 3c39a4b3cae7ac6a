"""SNIP prunes the weights whose |w dL/dw| is lowest, and takes its gradient from the task."""

from decimal import Decimal
from typing import Any, ClassVar, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.layout import Layout
from tombola.finders.untrained.snip import SnipSpec, snip
from tombola.plan.job_spec import PruneJobSpec
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors

HALF = Decimal("0.5")


class Given:
    """Evidence that is known."""

    weights: ClassVar[Tensors] = {"w": torch.tensor([[1.0, -4.0], [0.5, 3.0]])}
    layout = Layout()

    def gradients(self, batches: int) -> Tensors:
        return {"w": torch.tensor([[3.0, 0.1], [-4.0, 0.2]]) * batches}


@pytest.mark.parametrize("batches", [1, 3])
def test_weights_with_the_lowest_product_with_their_gradient_are_pruned(batches: int) -> None:
    spec = SnipSpec(sparsity=HALF, batches=batches)
    made = snip(cast(Any, Given()), spec, Mask.full(Given.weights))
    assert made.mask["w"].tolist() == [[True, False], [True, False]]


def test_a_search_is_one_mask_by_seed_and_batches_and_a_training_under_it() -> None:
    task = load_task("sentiment")
    on = subject(task, task.recipe)
    keys = set()
    for seed, batches in ((0, 1), (1, 1), (0, 4)):
        spec = SnipSpec(sparsity=HALF, batches=batches)
        found = FINDERS["snip"].search(on, spec, seed)
        mask = found.masks[HALF]
        assert isinstance(mask.spec, PruneJobSpec)
        assert mask.spec.data is not None
        assert (mask.spec.scores, mask.spec.data.recipe.seed) == ("snip", seed)
        assert FINDERS["snip"].read(mask.spec) == spec
        assert found.trainings[HALF].parents == {"mask": mask}
        keys.add(mask.key)
    assert len(keys) == 3


def test_batches_are_at_most_those_of_a_training() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    assert FINDERS["snip"].search(on, SnipSpec(sparsity=HALF, batches=on.steps), 0).masks
    with pytest.raises(
        SpecError, match=rf"at most the {on.steps} of one training, got {on.steps + 1}\."
    ):
        FINDERS["snip"].search(on, SnipSpec(sparsity=HALF, batches=on.steps + 1), 0)


def test_batches_are_one_or_more() -> None:
    with pytest.raises(SpecError, match=r"batches must be 1 or more, got 0\."):
        SnipSpec(batches=0)
