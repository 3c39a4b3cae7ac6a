"""Components of variance are those that were put in, and their interval covers as it says."""

import numpy as np
import pytest
from scipy import stats

from tombola.base.errors import SpecError
from tombola.study.statistics.components import by_cluster, components


def drawn(
    seeds: int, examples: int, sds: tuple[float, float, float], generator: np.random.Generator
) -> np.ndarray:
    """Gains of mean zero with components of seeds, examples and the rest."""
    return (
        generator.normal(0, sds[0], (seeds, 1))
        + generator.normal(0, sds[1], (1, examples))
        + generator.normal(0, sds[2], (seeds, examples))
    )


def mean_error(values: np.ndarray) -> tuple[float, float]:
    return float(np.mean(values)), float(stats.sem(values))


def unexplained(gains: np.ndarray, *columns: np.ndarray) -> float:
    """The sum of squares that least squares on some columns leave."""
    design = np.hstack(columns)
    fitted = design @ np.linalg.lstsq(design, gains.ravel())[0]
    return float(np.sum((gains.ravel() - fitted) ** 2))


def test_the_components_follow_from_the_mean_squares_of_an_anova() -> None:
    gains = drawn(4, 9, (2.0, 3.0, 1.0), np.random.default_rng(1))
    seeds, examples = (
        np.eye(n)[at.ravel()] for n, at in zip((4, 9), np.indices((4, 9)), strict=True)
    )
    one = np.ones((36, 1))
    left = unexplained(gains, one, seeds, examples)
    squares = {
        "rest": left / 24,
        "seeds": (unexplained(gains, one, examples) - left) / 3,
        "examples": (unexplained(gains, one, seeds) - left) / 8,
    }
    found = components(gains)
    assert found.rest_sd**2 == pytest.approx(squares["rest"])
    assert found.seed_sd**2 == pytest.approx((squares["seeds"] - squares["rest"]) / 9)
    assert found.example_sd**2 == pytest.approx((squares["examples"] - squares["rest"]) / 4)
    both = (squares["seeds"] + squares["examples"] - squares["rest"]) / 36
    assert found.seed_error**2 + found.example_error**2 == pytest.approx(both)


def test_the_components_are_those_that_were_put_in() -> None:
    generator, sds = np.random.default_rng(2), (1.0, 20.0, 30.0)
    found = [components(drawn(5, 400, sds, generator)) for _ in range(200)]
    means = [
        np.mean([getattr(c, f"{n}_sd") ** 2 for c in found]) for n in ("seed", "example", "rest")
    ]
    assert means[1:] == pytest.approx([400.0, 900.0], rel=0.05)
    assert 0.9 < means[0] < 3.0  # raised by those that were cut off at zero


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("sds", [(2.0, 5.0, 20.0), (0.2, 30.0, 20.0), (0.0, 0.0, 30.0)])
def test_the_interval_covers_over_other_seeds_and_other_examples(
    seeds: int, sds: tuple[float, float, float]
) -> None:
    generator, runs = np.random.default_rng(seeds), 1000
    inside = 0
    for _ in range(runs):
        low, high = components(drawn(seeds, 100, sds, generator)).interval(0.90)
        inside += low <= 0 <= high
    assert inside / runs > 0.90 - 2.6 * np.sqrt(0.09 / runs)


def test_examples_that_vary_widen_what_seeds_alone_say() -> None:
    gains = drawn(3, 200, (0.5, 40.0, 10.0), np.random.default_rng(4))
    alone = stats.t.interval(0.90, 2, *mean_error(gains.mean(axis=1)))
    low, high = components(gains).interval(0.90)
    assert high - low > alone[1] - alone[0]


def test_seeds_that_are_all_the_same_leave_the_examples() -> None:
    gains = np.tile(np.random.default_rng(5).normal(0, 10, 50), (3, 1))
    found = components(gains)
    assert (found.seed_sd, found.seed_error) == (0.0, 0.0)
    assert found.interval(0.9) == pytest.approx(stats.t.interval(0.9, 49, *mean_error(gains[0])))


def test_clusters_keep_the_mean_and_vary_as_wholes() -> None:
    generator = np.random.default_rng(6)
    single = generator.normal(0, 10, (3, 40))
    same = by_cluster(single, np.arange(40))
    assert same == pytest.approx(single)
    twice = by_cluster(np.repeat(single, 2, axis=1), np.repeat(np.arange(40), 2))
    assert twice == pytest.approx(single)
    sizes = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 6, 9, 10])
    assert by_cluster(single, sizes).mean(axis=1) == pytest.approx(single.mean(axis=1))


def test_one_seed_has_no_components() -> None:
    with pytest.raises(SpecError, match="got an array of 1 x 9"):
        components(np.zeros((1, 9)))
