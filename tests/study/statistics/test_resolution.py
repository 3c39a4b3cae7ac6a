"""A test set of n examples bounds what any verdict can say, whatever was seen on it."""

import runpy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tombola.study.statistics.interval import ends
from tombola.study.statistics.resolution import net_ends, p_net_above

BUILD = runpy.run_path(str(Path(__file__).parents[3] / "tools" / "build_statistics.py"))
LEVEL = 0.05


@pytest.mark.parametrize("pairs", [2, 16, 100, 2000])
def test_with_nothing_lost_the_bound_is_that_of_the_binomial(pairs: int) -> None:
    low, high = net_ends(0, 0, pairs, LEVEL, LEVEL)
    assert high == -low == pytest.approx(1 - LEVEL ** (1 / pairs))


@given(st.integers(1, 400), st.data())
@settings(max_examples=100, deadline=None)
def test_one_sort_of_pairs_alone_has_the_limits_of_clopper_and_pearson(
    pairs: int, data: Any
) -> None:
    won = data.draw(st.integers(0, pairs))
    exact = stats.binomtest(won, pairs).proportion_ci(1 - 2 * LEVEL, method="exact")
    _, high = net_ends(0, won, pairs, LEVEL, LEVEL)
    low, _ = net_ends(won, 0, pairs, LEVEL, LEVEL)
    assert high == pytest.approx(exact.high)
    assert low == pytest.approx(-exact.high)


@given(st.integers(2, 200), st.data(), st.floats(-0.5, 0.5), st.floats(0.001, 0.4))
@settings(max_examples=100, deadline=None)
def test_the_p_value_is_small_just_where_the_end_is_beyond(
    pairs: int, data: Any, bound: float, level: float
) -> None:
    lost = data.draw(st.integers(0, pairs))
    won = data.draw(st.integers(0, pairs - lost))
    low, _ = net_ends(lost, won, pairs, level, level)
    if abs(low - bound) > 1e-9:
        assert (low > bound) == (p_net_above(lost, won, pairs, bound) < level)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=10), st.sampled_from([16, 35, 204, 2000]))
@settings(max_examples=50, deadline=None)
def test_the_enumeration_judges_as_the_package_does(counts: list[int], examples: int) -> None:
    step = 100 / examples
    each = np.array(counts)
    below, above = BUILD["verdict_ends"](
        np.array([each.sum()]),
        np.array([(each**2).sum()]),
        middle=0,
        seeds=len(counts),
        step=step,
        floor=True,
    )
    _, low, high = ends(each * step, LEVEL, resolution=step)
    np.testing.assert_allclose([below[0], above[0]], [low, high], atol=1e-6)


@pytest.mark.parametrize(("examples", "seeds"), [*product((16, 35, 100), (2, 3, 5)), (204, 2)])
def test_no_false_verdict_on_seeds_exceeds_its_level(examples: int, seeds: int) -> None:
    for name, chances in BUILD["models"](examples):
        found = BUILD["false_verdicts"](examples, seeds, chances)
        assert found is not None
        assert max(found) <= LEVEL, name


@pytest.mark.parametrize("examples", [16, 35, 100, 204])
@pytest.mark.parametrize("multiple", [1.0, 1.5, 3.0])
def test_no_false_verdict_on_one_run_exceeds_its_level(examples: int, multiple: float) -> None:
    matching, failing, without = BUILD["false_verdicts_on_one_run"](examples, multiple)
    assert max(matching, failing) <= LEVEL
    assert without > LEVEL  # so there is something to correct


def test_without_the_floor_few_seeds_on_few_examples_are_mostly_wrong() -> None:
    half = BUILD["rounded"](35, 0.5)
    matching, _ = BUILD["false_verdicts"](35, 2, half, floor=False)
    assert matching == pytest.approx(0.42, abs=0.01)
