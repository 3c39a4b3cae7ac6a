"""A finder is one function; its knobs, plan and mask follow, and planning loads no torch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

import tombola
from processes import loaded_after
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, PruneSpec, TrainSpec
from tombola.finders.evidence import Evidence
from tombola.finders.finder import FINDERS, Pruned, finder
from tombola.finders.shapes import prune_once, train_mask
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask, result_of
from tombola.lab.subjects import SubjectFactory
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.structures import STRUCTURES

HALF = Decimal("0.5")
RECIPE = TrainSpec(epochs=1, batch_size=16, learning_rate=1e-2, max_length=30)


@dataclass(frozen=True, kw_only=True)
class ToySpec(PruneSpec):
    """A toy's knobs."""

    power: int = 1
    """Power of the gradients that are summed."""


def watching(evidence: Evidence, spec: ToySpec, mask: Mask) -> Pruned:
    """Keep what was moved most while training."""
    before = {name: weight.clone() for name, weight in evidence.weights.items()}
    steps: list[int] = []
    sums = {name: torch.zeros_like(weight) for name, weight in before.items()}

    def add(name: str, gradient: torch.Tensor) -> None:
        sums[name] += gradient.cpu().abs() ** spec.power

    after = evidence.train(after_backward=add, after_step=lambda done, weights: steps.append(done))
    assert all(torch.equal(before[name], weight) for name, weight in evidence.weights.items())
    moved = {name: (after[name] - before[name]).abs() for name in after}
    assert all(sums[name].any() for name in sums)
    return Pruned(STRUCTURES[spec.structure](moved, mask, spec.sparsity, 0), {"steps": steps})


def looking(evidence: Evidence, spec: ToySpec, mask: Mask) -> Pruned:
    """Look at everything that there is."""
    gradients, inputs = evidence.gradients(2), evidence.activations(2)
    assert gradients.keys() == inputs.keys() == evidence.weights.keys()
    for name, weight in evidence.weights.items():
        assert gradients[name].shape == weight.shape
        assert inputs[name].shape == weight.shape[1:]
        assert (inputs[name] > 0).any()
    scores = {name: w.abs() * inputs[name].sqrt() for name, w in evidence.weights.items()}
    return Pruned(STRUCTURES[spec.structure](scores, mask, spec.sparsity, 0))


def freezing(evidence: Any, spec: ToySpec, mask: Mask) -> Pruned:
    """Train nothing for as long as a training."""
    network = evidence.workspace.network
    before = {name: weight.clone() for name, weight in network.weights().items()}
    evidence.train(frozen=True)
    same = all(torch.equal(before[name], weight) for name, weight in network.weights().items())
    prune = STRUCTURES[spec.structure]
    return Pruned(prune(evidence.weights, mask, spec.sparsity, 0), {"same": same})


@pytest.fixture
def toys() -> Iterator[None]:
    FINDERS["imp"]
    finder("watching", ToySpec, plan=train_mask, source="Toy et al. 2026")(watching)
    finder("freezing", ToySpec, plan=train_mask)(freezing)
    finder("looking", ToySpec, plan=prune_once)(looking)
    finder("blind", ToySpec, plan=prune_once, task_free=True)(looking)
    yield
    for name in ("watching", "freezing", "looking", "blind"):
        del FINDERS._plugins[name]


@pytest.fixture
def subject(tiny: Path, reviews: Path, tmp_path: Path) -> Subject:
    return SubjectFactory(tmp_path).subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )


def made(name: str, subject: Subject, store: Path, **knobs: Any) -> tuple[Mask, dict[str, Any]]:
    found = FINDERS[name]
    job = found.search(subject, found.spec(sparsity=HALF, **knobs), 3).masks[HALF]
    lab = LabSpec(store=str(store), threads=1)
    kept, summary = run_plan(Plan.of([job]), lab, RunCallback())
    for _, error in summary.failed:
        raise error
    return read_mask(kept, job.key), result_of(kept, job.key).facts


def test_a_finder_may_train_watch_and_say_what_it_saw(
    toys: None, subject: Subject, tmp_path: Path
) -> None:
    mask, facts = made("watching", subject, tmp_path / "a")
    assert mask.pruned == mask.size // 2
    assert facts["steps"] == list(range(1, subject.steps + 1))
    assert made("watching", subject, tmp_path / "b")[0] == mask
    job = FINDERS["watching"].search(subject, ToySpec(sparsity=HALF), 3).masks[HALF]
    assert job.steps == subject.steps


@pytest.mark.parametrize(
    "name", ["gradual", "mask-training", "movement", "soft-movement", "platon"]
)
def test_a_mask_found_within_a_training_is_exact_and_the_same_again(
    subject: Subject, tmp_path: Path, name: str
) -> None:
    mask, _ = made(name, subject, tmp_path / "a", every=1)
    assert mask.pruned == mask.size // 2
    assert made(name, subject, tmp_path / "b", every=1)[0] == mask


def test_a_frozen_network_and_its_head_stay_as_they_are(
    toys: None, subject: Subject, tmp_path: Path
) -> None:
    decaying = replace(subject, recipe=replace(RECIPE, weight_decay=0.1))
    assert made("freezing", decaying, tmp_path)[1]["same"]


def test_evidence_is_the_same_for_the_same_job_and_has_the_shapes_that_it_says(
    toys: None, subject: Subject, tmp_path: Path
) -> None:
    mask, _ = made("looking", subject, tmp_path / "a")
    assert mask == made("looking", subject, tmp_path / "b")[0]


def test_a_task_free_finder_that_asks_for_data_is_refused(
    toys: None, subject: Subject, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"'blind' asking for data\. Leave task_free=True out"):
        made("blind", subject, tmp_path)


def test_a_finder_names_itself_its_source_and_its_knobs(toys: None, subject: Subject) -> None:
    toy = FINDERS["watching"]
    assert (toy.about, toy.source) == ("Keep what was moved most while training", "Toy et al. 2026")
    keys = {
        toy.search(subject, spec, 0).masks[HALF].key
        for spec in (ToySpec(sparsity=HALF), ToySpec(sparsity=HALF, power=2))
    }
    assert len(keys) == 2
    other = toy.search(replace(subject, data="0" * 64), ToySpec(sparsity=HALF), 0).masks[HALF]
    assert other.key not in keys
    with pytest.raises(SpecError, match=r"no finder 'snipp'\. Did you mean 'snip'"):
        FINDERS["snipp"]


def test_finders_are_found_and_described_without_torch() -> None:
    code = (
        "from tombola.finders.finder import FINDERS\n"
        "assert all(FINDERS[name].about for name in FINDERS)"
    )
    assert not {"torch", "numpy", "transformers"} & loaded_after(code)


def test_the_python_api_takes_the_knobs_of_any_finder() -> None:
    owners = " and ".join(name for name in FINDERS if hasattr(FINDERS[name].spec, "batches"))
    assert "snip" in owners
    with pytest.raises(SpecError, match=f"`batches` is a knob of the finder {owners}, got it with"):
        tombola.find(finder_knobs={"batches": 4})
    with pytest.raises(SpecError, match="batches must be 1 or more, got 0"):
        tombola.find(finder="snip", finder_knobs={"batches": 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finder_knobs": {"task": "mlm"}}, "there is no knob of the finder imp 'task'"),
        ({"finder_knobs": {"stp": 0.2}}, "there is no knob of the finder imp 'stp'. Did you mean"),
        (
            {"sparsity": 0.5, "finder_knobs": {"sparsity": 0.6}},
            "sparsity must be given once, got it in finder_knobs too. Leave one out.",
        ),
        (
            {"finder_knobs": 4},
            "finder_knobs must map names to values, got 4. Write {'batches': 4}.",
        ),
        ({"finder_knobs": {4: 4}}, "finder_knobs must map names to values, got {4: 4}."),
        ({"finder": 4, "finder_knobs": {}}, "finder must be text, got 4."),
    ],
)
def test_finder_knobs_are_the_finder_s_own_and_given_once(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        tombola.find(**options)
    assert str(caught.value).startswith(message)
