"""Finders: exact masks, the same twice; those that prune within a training in every precision."""

from pathlib import Path
from typing import Any

import pytest
from trainings import PRECISIONS, case, found

from tombola.finders.finder import FINDERS

pytestmark = pytest.mark.cuda

NAMES = [name for name in FINDERS if "ramp_end" in FINDERS[name].spec.__dataclass_fields__]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks are."""
    return tmp_path_factory.mktemp("encoders")


@pytest.mark.parametrize("name", FINDERS)
def test_a_network_that_was_never_on_the_device_gets_an_exact_mask_twice(
    name: str, folder: Path
) -> None:
    made = []
    for _ in range(2):
        one = case(folder / "bert", "bert", "classification")
        made.append(found(one, name))
    assert made[0].pruned == made[0].size // 2
    assert made[0] == made[1]


def test_blocks_of_a_fisher_matrix_make_the_same_mask_twice(folder: Path) -> None:
    one = case(folder / "bert", "bert", "classification")
    knobs: dict[str, Any] = {"block_size": 4, "damping": 1e-3}
    assert found(one, "obs", **knobs) == found(one, "obs", **knobs)


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
