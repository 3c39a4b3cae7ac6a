"""Several tests at once err as rarely as one, and are those of scipy and statsmodels."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from tombola.study.statistics.interval import ends, p_above, p_below, p_resolved
from tombola.study.statistics.multiple_testing import at_least, holm, sign_flip, sign_flip_seeds
from tombola.study.statistics.rank_correlation import kendall

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(p_values)
def test_holm_is_that_of_statsmodels(found: list[float]) -> None:
    np.testing.assert_allclose(holm(found), multipletests(found, method="holm")[1])


@given(p_values)
def test_all_is_the_largest_p_value_and_one_is_bonferroni(found: list[float]) -> None:
    assert at_least(found, len(found)) == max(found)
    assert at_least(found, 1) == min(1.0, len(found) * min(found))


def test_at_least_errs_as_rarely_as_its_level_with_one_too_few() -> None:
    generator = np.random.default_rng(0)
    for count in range(1, 6):
        drawn = generator.uniform(size=(2000, 5))
        drawn[:, : count - 1] = 0.0
        wrong = np.mean([at_least(list(each), count) < 0.05 for each in drawn])
        assert wrong < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=9).filter(lambda x: np.ptp(x) > 1e-3),
    st.floats(-5, 5),
    st.floats(0.001, 0.4),
)
def test_p_values_and_ends_are_those_of_scipy_and_statsmodels(
    differences: list[float], bound: float, level: float
) -> None:
    rounded = np.round(differences, 9)
    above, below = (
        stats.ttest_1samp(rounded, bound, alternative=side).pvalue for side in ("greater", "less")
    )
    fine = {"resolution": 1e-9}  # a test set so large that it bounds nothing
    for found, expected in (
        (p_above(differences, bound, **fine), above),
        (p_below(differences, bound, **fine), below),
    ):
        if expected < 0.49:  # what is half or more is 1.0
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)
    interval = DescrStatsW(rounded).tconfint_mean(2 * level)
    np.testing.assert_allclose(ends(differences, level, **fine)[1:], interval, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=9),
    st.floats(-20, 20),
    st.floats(0.001, 0.4),
    st.sampled_from([5, 16, 100, 2000]),
)
def test_a_p_value_is_small_just_where_the_end_is_beyond_the_bound(
    steps: list[int], bound: float, level: float, examples: int
) -> None:
    resolution = 100 / examples
    differences = [resolution * min(max(step, -examples), examples) for step in steps]
    mean, low, high = ends(differences, level, resolution=resolution)
    assert low < mean < high or examples == 5
    for end, p_value in (
        (low - bound, p_above(differences, bound, resolution=resolution)),
        (bound - high, p_below(differences, bound, resolution=resolution)),
    ):
        if abs(end) > 1e-6:
            assert (end > 0) == (p_value < level)


def test_equal_differences_leave_the_doubt_that_the_test_set_leaves() -> None:
    alike = [0.0] * 10
    assert p_resolved(alike, -1.0, resolution=100 / 35) == pytest.approx(0.99**350, rel=1e-6)
    assert p_above(alike, -1.0, resolution=100 / 35) >= 0.99**350
    assert p_above(alike, -1.0, resolution=100 / 2000) < 1e-9
    assert p_below(alike, -1.0, resolution=100 / 2000) == 1.0


def test_sign_flip_tries_every_pattern_of_signs() -> None:
    differences = [0.4, -0.2, 1.1, 0.3, 0.6]
    flipped = [np.dot(signs, differences) for signs in product((1, -1), repeat=5)]
    exact = np.mean(np.array(flipped) >= sum(differences) - 1e-12)
    assert sign_flip(differences, 0.0, level=0.05, tests=1) == pytest.approx(exact)
    shifted = [each - 1.0 for each in differences]
    assert sign_flip(shifted, -1.0, level=0.05, tests=1) == pytest.approx(exact)


@pytest.mark.parametrize(("tests", "seeds"), [(1, 5), (2, 6), (6, 7), (11, 8)])
def test_sign_flip_is_offered_only_where_it_can_reach_the_corrected_level(
    tests: int, seeds: int
) -> None:
    assert sign_flip_seeds(0.05, tests) == seeds
    assert 2.0**-seeds <= 0.05 / tests < 2.0 ** -(seeds - 1)
    better = [1.0] * seeds
    assert sign_flip(better, 0.0, level=0.05, tests=tests) == pytest.approx(2.0**-seeds)
    assert sign_flip(better[1:], 0.0, level=0.05, tests=tests) is None
    assert sign_flip([1.0] * 17, 0.0, level=0.05, tests=tests) is None


def test_a_trend_has_the_exact_p_value_of_kendall() -> None:
    values = np.array([1.0, 3.0, 2.0, 4.0, 6.0, 5.0])
    found = kendall([1, 2, 3, 4, 5, 6], np.stack([values, values]), 0.05)
    exact = stats.kendalltau(np.arange(6.0), values, method="exact", alternative="greater")
    assert found.rising_p_value == pytest.approx(exact.pvalue)
    exact = stats.kendalltau(np.arange(6.0), values, method="exact", alternative="less")
    assert found.falling_p_value == pytest.approx(exact.pvalue)
    mean, low, high = found.interval
    assert low < mean < high
    assert mean == pytest.approx(exact.statistic)


def test_a_trend_among_ties_is_no_surer_than_their_orders() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0]])
    assert kendall([1, 1, 3, 4], values, 0.05).rising_p_value == pytest.approx(2 / 24)


def test_a_trend_by_chance_is_as_rare_as_the_level() -> None:
    generator = np.random.default_rng(0)
    found = [
        kendall([1, 2, 3, 4], generator.normal(size=(2, 4)), 0.05).rising_p_value < 0.05
        for _ in range(150)
    ]
    assert np.mean(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
