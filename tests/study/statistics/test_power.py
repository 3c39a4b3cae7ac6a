"""Power is that of statsmodels where test examples are without number."""

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from tombola.study.statistics.power import matching_power


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.floats(0.3, 3), st.floats(0.3, 3))
def test_power_is_that_of_a_one_sided_t_test(seeds: int, dense_sd: float, margin: float) -> None:
    effect = margin / (sqrt(2) * dense_sd)
    expected = TTestPower().power(effect, seeds, 0.05, alternative="larger")
    assert matching_power(seeds, dense_sd, margin) == pytest.approx(expected, abs=5e-4)
