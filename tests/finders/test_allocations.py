"""Allocations say how many weights each group keeps: exactly, and never more than it has."""

from decimal import Decimal
from typing import Any

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.finders.allocations import keep_best, quotas
from tombola.finders.finder import FINDERS
from tombola.plan.job_spec import PruneJobSpec
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import pruned_count

SPARSITY = Decimal("0.7")


@pytest.fixture
def scores() -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    shapes = {"a": (6, 5), "b": (4, 24), "c": (24, 7)}
    return {name: torch.randint(0, 9, shapes[name], generator=drawn).float() for name in shapes}


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "row"])
def test_counts_are_exact_and_masks_only_shrink(
    scores: dict[str, torch.Tensor], allocation: str
) -> None:
    full = Mask.full(scores)
    first = keep_best(scores, full, PruneSpec(sparsity=SPARSITY, allocation=allocation))
    then = keep_best(
        {name: -score for name, score in scores.items()},
        first,
        PruneSpec(sparsity=Decimal("0.95"), allocation=allocation),
    )
    assert first.pruned == pruned_count(SPARSITY, full.size)
    assert then.pruned == pruned_count(Decimal("0.95"), full.size)
    assert not any(bool((kept & ~first[name]).any()) for name, kept in then.items())
    with pytest.raises(SpecError, match="Masks only shrink"):
        keep_best(scores, then, PruneSpec(sparsity=SPARSITY, allocation=allocation))


def test_uniform_prunes_the_lowest_of_each_matrix(scores: dict[str, torch.Tensor]) -> None:
    mask = keep_best(scores, Mask.full(scores), PruneSpec(sparsity=SPARSITY, allocation="uniform"))
    for name, score in scores.items():
        assert abs(int((~mask[name]).sum()) - 0.7 * score.numel()) < 1
        assert score[mask[name]].min() >= score[~mask[name]].max()


def test_rows_prune_the_lowest_of_each_row(scores: dict[str, torch.Tensor]) -> None:
    mask = keep_best(scores, Mask.full(scores), PruneSpec(sparsity=SPARSITY, allocation="row"))
    for name, score in scores.items():
        for row, kept in zip(score, mask[name], strict=True):
            assert abs(int((~kept).sum()) - 0.7 * len(row)) < 1
            assert row[kept].min() >= row[~kept].max()


def test_erk_keeps_in_proportion_to_the_sum_over_the_product_of_the_axes() -> None:
    """Densities as in Evci et al. 2020: epsilon (rows + columns) / (rows x columns), at most 1."""
    scores = {"a": torch.rand(4, 4), "b": torch.rand(40, 60), "c": torch.rand(60, 40)}
    mask = keep_best(
        scores, Mask.full(scores), PruneSpec(sparsity=Decimal("0.9"), allocation="erk")
    )
    epsilon = (mask.size - mask.pruned - 16) / 200  # `a` is full
    densities = [float(mask[name].float().mean()) for name in scores]
    assert densities == pytest.approx([1, epsilon * 100 / 2400, epsilon * 100 / 2400], abs=1e-3)


def test_what_a_full_group_cannot_take_goes_to_the_others() -> None:
    assert quotas(10, [1, 1, 1], [2, 9, 9]) == [2, 4, 4]
    assert quotas(7, [1, 1, 1], [9, 9, 9]) == [3, 2, 2]
    assert quotas(0, [1, 2], [3, 3]) == [0, 0]
    assert quotas(6, [1, 2], [3, 3]) == [3, 3]


def test_an_allocation_is_in_the_key_of_the_mask_and_read_back() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    keys = set()
    for name in ("imp", "one-shot", "snip"):
        for allocation in ("global", "erk"):
            more: dict[str, Any] = {"rounds": (SPARSITY,)} if name == "imp" else {}
            spec = FINDERS[name].spec(sparsity=SPARSITY, allocation=allocation, **more)
            job = FINDERS[name].search(on, spec, 0).masks[SPARSITY]
            assert isinstance(job.spec, PruneJobSpec)
            assert FINDERS[name].read(job.spec) == spec
            keys.add(job.key)
    assert len(keys) == 6


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"allocation": "erq"}, "there is no allocation 'erq'. Did you mean 'erk'?"),
        (
            {"allocation": "erk", "structure": "rows"},
            "allocation is for single weights, got erk with the structure rows. Leave one out.",
        ),
    ],
)
def test_bad_allocations_are_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        PruneSpec(**knobs)
    assert str(caught.value) == message
