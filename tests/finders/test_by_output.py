"""N:M, rows and the allocation `row` go by a layer's inputs and outputs, however it stores them."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import POSITIONS, save
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, PruneSpec, TrainSpec
from tombola.finders.allocations import keep_best
from tombola.finders.finder import FINDERS
from tombola.finders.layout import Layout
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job, prune
from tombola.plan.job_spec import PruneJobSpec, read_spec
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.structures import by_output, check_lines, patterns_lost

HALF = Decimal("0.5")
RECIPE = TrainSpec(epochs=1, batch_size=8, learning_rate=1e-2, max_length=POSITIONS)
SPECS = ({"structure": "2:4"}, {"structure": "rows"}, {"allocation": "row"})


def subject_of(name: str, reviews: Path, place: Path) -> Subject:
    folder, task = save(name, place / "network"), load_task("sentiment")
    return SubjectFactory(place).subject(
        str(folder), task, RECIPE, scope="encoder", folder=str(reviews)
    )


def searched(subject: Subject, name: str, **knobs: Any) -> Job:
    return FINDERS[name].search(subject, FINDERS[name].spec(sparsity=HALF, **knobs), 0).masks[HALF]


def drawn() -> Tensors:
    chance = torch.Generator().manual_seed(0)
    return {
        n: torch.rand(shape, generator=chance) for n, shape in {"a": (8, 12), "b": (4, 16)}.items()
    }


def along_inputs(mask: Mask, names: frozenset[str]) -> bool:
    """Whether two of each four inputs of an output are kept."""
    lines = [kept.reshape(-1, 4).sum(1) for kept in by_output(mask, names).values()]
    return bool((torch.cat(lines) == 2).all())


@pytest.mark.parametrize("knobs", SPECS)
def test_a_weight_is_pruned_as_its_transpose_is(knobs: dict[str, str]) -> None:
    scores, spec, names = drawn(), PruneSpec(sparsity=HALF, **knobs), frozenset("b")
    found = keep_best(scores, Mask.full(scores), spec, Layout(transposed=names))
    turned = by_output(scores, names)
    assert Mask(by_output(found, names)) == keep_best(turned, Mask.full(turned), spec)
    assert found != keep_best(scores, Mask.full(scores), spec)


def test_single_weights_have_no_direction() -> None:
    scores = {name: torch.ones_like(score) for name, score in drawn().items()}
    for allocation in ("global", "uniform", "erk"):
        spec = PruneSpec(sparsity=HALF, allocation=allocation)
        found = keep_best(scores, Mask.full(scores), spec, Layout(transposed=frozenset("b")))
        assert found == keep_best(scores, Mask.full(scores), spec)


def test_patterns_are_lost_along_the_inputs() -> None:
    kept = torch.ones(8, 4, dtype=torch.bool)
    kept[:, 0] = False
    mask = Mask({"w": kept})
    assert {"2:4", "3:4"} & patterns_lost(mask).keys() == set()
    assert {"1:4", "2:4", "3:4"} <= patterns_lost(mask, {"w"}).keys()


def test_masks_of_gpt2_go_along_the_inputs(reviews: Path, tmp_path: Path) -> None:
    on = subject_of("gpt2", reviews, tmp_path)
    pattern = {"structure": "2:4"}
    made = {
        "magnitude": searched(on, "one-shot", **pattern),
        "wanda": searched(on, "wanda", batches=1, **pattern),
        "sparsegpt": searched(on, "sparsegpt", batches=1, **pattern),
        "gradual": searched(on, "gradual", every=1, **pattern),
        "random": prune(on, PruneSpec(structure="2:4"), "random mask", scores="random"),
        "row": searched(on, "one-shot", allocation="row"),
        "rows": searched(on, "one-shot", structure="rows"),
    }
    store, summary = run_plan(
        Plan.of(made.values()), LabSpec(store=str(tmp_path / "store"), threads=1), RunCallback()
    )
    assert [str(error) for _, error in summary.failed] == []
    masks = {name: read_mask(store, job.key) for name, job in made.items()}
    for name in ("magnitude", "wanda", "sparsegpt", "gradual", "random"):
        assert along_inputs(masks[name], on.transposed), name
    rows = [row for kept in by_output(masks["rows"], on.transposed).values() for row in kept]
    assert sum(0 < int(row.sum()) < len(row) for row in rows) <= 1
    for kept in by_output(masks["row"], on.transposed).values():
        assert {int(row.sum()) for row in kept} == {kept.shape[1] // 2}


def test_only_such_masks_of_such_networks_have_names_of_their_own(
    reviews: Path, tmp_path: Path
) -> None:
    gpt2 = subject_of("gpt2", reviews, tmp_path / "a")
    bert = subject_of("bert", reviews, tmp_path / "b")
    assert len(gpt2.transposed) == 8
    assert not bert.transposed
    for knobs in (*SPECS, {}, {"allocation": "erk"}):
        job = searched(gpt2, "one-shot", **knobs)
        plain = searched(replace(gpt2, transposed=frozenset()), "one-shot", **knobs)
        assert (job.key != plain.key) == (knobs in SPECS)
        assert isinstance(job.spec, PruneJobSpec)
        assert read_spec("prune", job.spec.to_json()).to_json() == job.spec.to_json()
        told = searched(bert, "one-shot", **knobs).spec.to_json()
        assert "transposed" not in told


def test_what_does_not_divide_is_an_input(reviews: Path, tmp_path: Path) -> None:
    on = subject_of("gpt2", reviews, tmp_path)
    with pytest.raises(SpecError, match=r"16 divides, got h\.0\.mlp\.c_proj\.weight of shape \(24"):
        searched(on, "one-shot", structure="8:16")
    with pytest.raises(SpecError, match=r"c_attn\.weight, stored as \(inputs, outputs\)\."):
        searched(on, "one-shot", structure="heads-and-neurons")


def test_a_line_of_one_weight_is_no_row() -> None:
    weights = {"conv.weight": torch.rand(4, 4, 1)}
    spec = PruneSpec(sparsity=HALF, allocation="row")
    for refused in (
        lambda: check_lines(weights),
        lambda: keep_best(weights, Mask.full(weights), spec),
    ):
        with pytest.raises(SpecError, match=r"along the last axis, got conv\.weight of shape"):
            refused()
