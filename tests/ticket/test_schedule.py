"""The path to a sparsity: exact, rising, and ending where it should."""

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tombola.base.errors import SpecError
from tombola.ticket.schedule import SCHEDULES, pruned_count, round_sparsities, shortest_sparsity

D = Decimal


@pytest.mark.parametrize(
    ("schedule", "sparsity", "step", "expected"),
    [
        ("linear", "0.3", "0.1", ["0.1", "0.2", "0.3"]),
        ("linear", "0.25", "0.1", ["0.1", "0.2", "0.25"]),
        ("linear", "0.3000000001", "0.1", ["0.1", "0.2", "0.3000000001"]),
        ("linear", "0.05", "0.1", ["0.05"]),
        ("geometric", "0.271", "0.1", ["0.1", "0.19", "0.271"]),
        ("geometric", "0.3", "0.1", ["0.1", "0.19", "0.271", "0.3"]),
        ("linear", "0", "0.1", []),
    ],
)
def test_path_is_exact(schedule: str, sparsity: str, step: str, expected: list[str]) -> None:
    points = round_sparsities(schedule, sparsity=D(sparsity), step=D(step))
    assert [str(point) for point in points] == expected


fractions = st.decimals("0.01", "0.99", places=3)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.sampled_from(sorted(SCHEDULES)), fractions, fractions)
def test_path_rises_strictly_to_the_target(schedule: str, sparsity: D, step: D) -> None:
    points = round_sparsities(schedule, sparsity=sparsity, step=step)
    assert points[-1] == sparsity
    assert list(points) == sorted(set(points))
    first = min(sparsity, step)
    assert points[0] == first


@pytest.mark.parametrize("step", ["0", "1", "-0.1", "1E-9"])
def test_a_senseless_step_is_refused(step: str) -> None:
    with pytest.raises(SpecError, match="step"):
        round_sparsities("linear", sparsity=D("0.7"), step=D(step))


def test_a_mistyped_schedule_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="linear"):
        round_sparsities("linaer", sparsity=D("0.7"), step=D("0.1"))


@pytest.mark.parametrize(
    ("sparsity", "size", "pruned"),
    [("0.5", 1, 0), ("0.5", 3, 2), ("0.5", 5, 2), ("0.7", 85_054_464, 59_538_125), ("0", 9, 0)],
)
def test_pruned_count_rounds_half_to_even(sparsity: str, size: int, pruned: int) -> None:
    assert pruned_count(D(sparsity), size) == pruned


def test_pruned_count_never_passes_through_a_float() -> None:
    size = 10**18 + 7
    assert pruned_count(D("0.7"), size) == round(Fraction(7, 10) * size)


@pytest.mark.parametrize("size", [1, 7, 1000, 85_524_480])
def test_the_sparsity_of_a_count_is_the_shortest_that_gives_it(size: int) -> None:
    assert shortest_sparsity(pruned_count(D("0.7"), 85_524_480), 85_524_480) == D("0.7")
    for pruned in {0, 1, size // 3, size // 2, size - 1}:
        found = shortest_sparsity(pruned, size)
        assert pruned_count(found, size) == pruned
        digits = -int(found.as_tuple().exponent)
        if digits > 0:
            shorter = round(found, digits - 1)
            assert pruned_count(shorter, size) != pruned


def test_planning_loads_no_torch() -> None:
    code = "import sys, tombola.ticket.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
