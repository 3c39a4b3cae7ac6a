"""Finders that prune while a network trains: exact masks, the same twice, in every precision."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from trainings import PRECISIONS, SPEC, Case, case

from tombola.finders.finder import FINDERS
from tombola.lab.run.evidence.of_workspace import WorkspaceEvidence
from tombola.ticket.mask import Mask
from tombola.training.steps import ignore_step

pytestmark = pytest.mark.cuda

NAMES = [name for name in FINDERS if "ramp_end" in FINDERS[name].spec.__dataclass_fields__]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks are."""
    return tmp_path_factory.mktemp("encoders")


def found(one: Case, name: str, precision: str, **knobs: Any) -> Mask:
    """The mask that a finder makes of the pre-trained network, on a training of eight steps."""
    one.network.rewind(SPEC.seed)
    full = Mask.full(one.network.scope("encoder"))
    workspace = SimpleNamespace(
        network=one.network,
        task=one.task,
        training=lambda recipe: one.examples,
        full=lambda scope: full,
    )
    data = SimpleNamespace(recipe=replace(SPEC, precision=precision))
    job = SimpleNamespace(data=data, scope="encoder", scores=name)
    evidence = WorkspaceEvidence(cast(Any, workspace), cast(Any, job), ignore_step, full)
    finder = FINDERS[name]
    spec = finder.spec(sparsity=Decimal("0.5"), **{"every": 1, **knobs})
    mask: Mask = finder.make(evidence, spec, full).mask
    assert all(kept.device.type == "cpu" for kept in mask.values())
    return mask


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_mask_found_within_a_training_is_exact_and_the_same_twice(
    name: str, precision: str, folder: Path
) -> None:
    one = case(folder / "bert", "bert", "classification")
    mask = found(one, name, precision)
    assert mask.pruned == mask.size // 2
    assert min(mask.layer_sparsities().values()) > 0
    assert found(one, name, precision) == mask


@pytest.mark.parametrize(
    "knobs", [{"structure": "rows"}, {"structure": "2:4"}, {"allocation": "row"}]
)
@pytest.mark.parametrize("name", NAMES)
def test_structures_and_allocations_are_cut_on_the_device(
    name: str, knobs: dict[str, str], folder: Path
) -> None:
    one = case(folder / "bert", "bert", "classification")
    mask = found(one, name, "fp32", **knobs)
    assert mask.pruned == mask.size // 2
