"""Resamples that are scored together have the scores that their metric gives each."""

from typing import Any

import numpy as np
import pytest

from paired_scores import HALF, interval
from tombola.study.statistics.resampled_scores import TOGETHER, resampled_scores
from tombola.study.verdicts import example_bootstrap
from tombola.study.verdicts.example_bootstrap import ScoredExamples, bootstrap
from tombola.tasks.metrics import METRICS

CHANCE = np.random.default_rng(0)


def predictions(metric: str, examples: int) -> Any:
    """What a network may predict: classes, of which some are rare, or values, of which some tie."""
    if metric in ("pearson", "spearman"):
        values = CHANCE.normal(size=(examples, 2)) + CHANCE.normal(size=(examples, 1))
        values[:, 1] = np.round(2 * values[:, 1]) / 2
        return values
    if metric == "masked-accuracy":
        masked = CHANCE.integers(0, 9, size=examples)
        return np.stack([CHANCE.binomial(masked, 0.3), masked], axis=1).astype(float)
    classes = np.minimum(CHANCE.geometric(0.5, size=(examples, 2)), 4) - 1.0
    classes[::2, 0] = classes[::2, 1]
    return classes


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("examples", [2, 3, 40, 700])
def test_resamples_together_score_to_the_bit_as_one_by_one(metric: str, examples: int) -> None:
    made = predictions(metric, examples)
    drawn = CHANCE.integers(0, examples, size=(60, examples))
    together = resampled_scores(metric, made, drawn)
    assert together.tolist() == [METRICS[metric](made[each]) for each in drawn]


@pytest.mark.parametrize("metric", sorted(TOGETHER))
def test_a_verdict_is_the_same_with_resamples_together(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example_bootstrap, "RESAMPLES", 300)
    dense, ticket = predictions(metric, 30), predictions(metric, 30)
    ticket[:20] = dense[:20]
    knobs: dict[str, Any] = {
        "test_set": ScoredExamples(examples=30, resolution=1.0),
        "margin": 1.0,
        "sparsity": HALF,
    }
    found = [
        bootstrap(
            lambda index: METRICS[metric](dense[index]),
            lambda index: METRICS[metric](ticket[index]),
            generator=np.random.default_rng(1),
            together=together,
            **knobs,
        )
        for together in (
            None,
            lambda drawn: (
                resampled_scores(metric, ticket, drawn) - resampled_scores(metric, dense, drawn)
            ),
        )
    ]
    assert interval(found[0]) == interval(found[1])
    assert found[0] == found[1]
