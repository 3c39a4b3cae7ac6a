"""Ranks say no more than the tests of all pairs show."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from plan_rows import network, search
from tombola.study.leaderboard.ranks import ranking
from tombola.study.table.grouping import NetworkRows

SEEDS = 5
DENSE = tuple(80.0 + seed for seed in range(SEEDS))


def rows(name: str, *changes: float) -> NetworkRows:
    return tuple(search("a", 0.0, arm=name, wobble=changes, dense=DENSE[: len(changes)]))


def drawn(generator: np.random.Generator, means: list[float]) -> list[NetworkRows]:
    return [rows(str(at), *generator.normal(mean, 1.0, SEEDS)) for at, mean in enumerate(means)]


def test_a_winner_is_one_that_is_shown_better_than_every_other() -> None:
    clear = ranking([rows("x", 5.0, 5.1, 4.9), rows("y", 0.0, 0.1, 0.05), rows("z", 0.1, 0, 0)])
    assert clear.ranks == [(1, 1), (2, 3), (2, 3)]
    assert clear.winner == 0
    assert [(each.better, each.worse) for each in clear.shown] == [(0, 1), (0, 2)]
    assert clear.shown[0].difference == pytest.approx(4.95)
    open_ = ranking([rows("x", 5.0, -5.1, 4.9), rows("y", 0.0, 0.1, 0.05)])
    assert (open_.ranks, open_.winner, open_.shown) == ([(1, 2), (1, 2)], None, [])
    assert ranking([rows("x", 5.0, 5.1, 4.9)]).winner is None


def test_the_pairs_are_those_of_holm_on_paired_t_tests() -> None:
    """On a test set so large that its number of examples bounds nothing."""
    networks = [
        tuple(replace(row, resolution=1e-6) for row in rows)
        for rows in drawn(np.random.default_rng(1), [0.0, 0.5, 3.0, 6.0])
    ]
    scores = [[row.score or 0.0 for row in rows] for rows in networks]
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    p_values = [stats.ttest_rel(scores[a], scores[b]).pvalue for a, b in pairs]
    holm = multipletests(p_values, method="holm")
    found = ranking(networks)
    assert 0 < sum(holm[0]) < len(pairs)
    shown = {tuple(sorted((each.better, each.worse))): each for each in found.shown}
    assert set(shown) == {pair for pair, holds in zip(pairs, holm[0], strict=True) if holds}
    for pair, expected in zip(pairs, holm[1], strict=True):
        if pair in shown:
            assert shown[pair].adjusted_p_value == pytest.approx(expected, rel=1e-3)


def test_all_true_ranks_are_inside_together_as_often_as_the_level_says() -> None:
    generator, means, runs = np.random.default_rng(2), [3.0, 3.0, 0.0, -1.0], 300
    true = [(1, 2), (1, 2), (3, 3), (4, 4)]
    covered = 0
    for _ in range(runs):
        found = ranking(drawn(generator, means)).ranks
        covered += all(a <= x and y <= b for (a, b), (x, y) in zip(found, true, strict=True))
    assert covered / runs > 0.95 - 2.6 * np.sqrt(0.95 * 0.05 / runs)


def test_a_seed_that_is_missing_leaves_every_rank_open() -> None:
    lacking = tuple(replace(row, score=None, state="missing") for row in rows("x", 9.0, 9.1, 9.0))
    found = ranking([rows("y", 0.0, 0.1, 0.1), lacking])
    assert found.ranks == [(1, 2), (1, 2)]
    other = tuple(replace(row, seed=row.seed + 9) for row in rows("z", 9.0, 9.1, 9.0))
    assert ranking([rows("y", 0.0, 0.1, 0.1), other]).ranks == [(1, 2), (1, 2)]


def test_a_task_that_dense_has_not_learned_ranks_nothing() -> None:
    flat = [tuple(network("imp", "a", gain, trivial=99.0)) for gain in (9.0, 0.0)]
    assert ranking(flat).ranks == [(1, 2), (1, 2)]
