"""The outlook of an undecided verdict is what simulation and the rule itself show."""

import numpy as np
import pytest
from scipy import stats

from paired_scores import FINE
from tombola.study.statistics.interval import ends
from tombola.study.statistics.outlook import outlook
from tombola.study.verdicts.verdict import status_of

DIFFERENCES = [-0.9, 0.4, -0.3]


def drawn_means(differences: list[float], resolution: float, draws: int) -> np.ndarray:
    """True means by the textbook's two draws: the variance first, then the mean given it."""
    generator, seeds = np.random.default_rng(3), len(differences)
    spread = np.var(differences, ddof=1) + resolution**2 / 6
    variances = (seeds - 1) * spread / generator.chisquare(seeds - 1, draws)
    return generator.normal(np.mean(differences), np.sqrt(variances / seeds))


@pytest.mark.parametrize("resolution", [FINE, 1.0])
def test_the_probabilities_are_those_of_draws_from_the_posterior(resolution: float) -> None:
    found = outlook(DIFFERENCES, 1.0, 0.9, resolution)
    means = drawn_means(DIFFERENCES, resolution, 200_000)
    assert found.below == pytest.approx(np.mean(means < -1), abs=0.005)
    assert found.above == pytest.approx(np.mean(means > 1), abs=0.005)
    assert found.below + found.within + found.above == pytest.approx(1)


def test_a_difference_below_with_five_percent_ends_the_interval_at_the_margin() -> None:
    low = stats.t.interval(0.90, 2, np.mean(DIFFERENCES), stats.sem(DIFFERENCES))[0]
    assert outlook(DIFFERENCES, -low, 0.9, FINE).below == pytest.approx(0.05)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_at_the_margin_every_probability_of_below_is_as_likely(seeds: int) -> None:
    """So that a probability of 5 % or less comes up in 5 % of the cases: exact coverage."""
    tries = np.random.default_rng(seeds).normal(-1.0, 2.0, (1500, seeds))
    below = [outlook(each, 1.0, 0.9, FINE).below for each in tries]
    assert stats.kstest(below, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("differences", "margin", "resolution"),
    [(DIFFERENCES, 1.0, FINE), (DIFFERENCES, 0.2, 0.05), ([0.0, 0.0], 2.0, 1.0)],
)
def test_the_next_seed_decides_as_often_as_the_rule_on_drawn_ones(
    differences: list[float], margin: float, resolution: float
) -> None:
    seeds = len(differences)
    spread = np.sqrt((np.var(differences, ddof=1) + resolution**2 / 6) * (1 + 1 / seeds))
    draws = stats.t.ppf((np.arange(300) + 0.5) / 300, seeds - 1) * spread + np.mean(differences)
    decided = [
        status_of(ends([*differences, more], 0.05, resolution=resolution)[1:], margin)
        != "undecided"
        for more in draws
    ]
    found = outlook(differences, margin, 0.9, resolution)
    assert found.next_seed == pytest.approx(np.mean(decided), abs=0.01)


def test_a_seed_decides_more_the_nearer_the_verdict_is() -> None:
    near, far = ([shift - 0.2, shift + 0.2] for shift in (0.0, -0.9))
    chances = [outlook(each, 1.0, 0.9, FINE).next_seed for each in (near, far)]
    assert chances[0] > 0.5 > chances[1]


def test_a_seed_added_after_looking_errs_as_often_as_the_page_says() -> None:
    """It warns of 7.5 % for one seed, 14 % for up to seven, instead of 5 %."""
    tries = np.random.default_rng(0).normal(-1.0, 1.0, (60_000, 10))
    matching, going = np.zeros(len(tries), bool), np.ones(len(tries), bool)
    shares = []
    for seeds in range(3, 11):
        mean, error = tries[:, :seeds].mean(1), stats.sem(tries[:, :seeds], axis=1)
        reach = stats.t.isf(0.05, seeds - 1) * error
        matching |= going & (mean - reach > -1)
        going &= (mean - reach <= -1) & (mean + reach >= -1)
        shares.append(np.mean(matching))
    assert shares[0] == pytest.approx(0.05, abs=0.003)
    assert shares[1] == pytest.approx(0.075, abs=0.003)
    assert shares[7] == pytest.approx(0.144, abs=0.006)
