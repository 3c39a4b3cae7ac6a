"""A verdict on one run is that of a paired bootstrap, and never surer than its test examples."""

from typing import Any

import numpy as np
import pytest

from paired_scores import HALF, interval
from tombola.base.errors import SpecError
from tombola.study.verdicts.example_bootstrap import ScoredExamples, bootstrap
from tombola.study.verdicts.verdict import THIS_RUN, Status, Verdict


def one_run(dense: Any, ticket: Any, *, seed: int = 0, **knobs: Any) -> Verdict:
    """The verdict on one run whose score is the mean of what its examples earn."""
    mine, theirs = (np.asarray(each, dtype=np.float64) for each in (dense, ticket))
    given: dict[str, Any] = {"margin": 1.0, "sparsity": HALF} | knobs
    clusters = given.pop("clusters", None)
    return bootstrap(
        lambda index: float(100 * mine[index].mean()),
        lambda index: float(100 * theirs[index].mean()),
        test_set=ScoredExamples(
            examples=mine.size,
            resolution=100 / mine.size,
            gains=theirs - mine,
            clusters=None if clusters is None else np.asarray(clusters),
        ),
        generator=np.random.default_rng(seed),
        **given,
    )


def test_two_right_answers_of_two_prove_nothing() -> None:
    assert one_run([1, 1], [1, 1]).status == "undecided"


def test_bootstrap_of_a_mean_is_the_normal_interval() -> None:
    generator = np.random.default_rng(1)
    dense = generator.random(1000) < 0.85
    ticket = generator.random(1000) < 0.83
    difference = 100 * (ticket.astype(float) - dense)
    half = 1.645 * np.std(difference) / np.sqrt(1000)
    expected = [np.mean(difference) - half, np.mean(difference) + half]
    found = one_run(dense, ticket)
    np.testing.assert_allclose(interval(found), expected, atol=0.2)
    assert found.difference == pytest.approx(np.mean(difference))


def test_questions_about_one_text_are_drawn_together() -> None:
    dense, ticket = np.ones(400), np.repeat(np.arange(40) % 10 != 0, 10).astype(float)
    apart = one_run(dense, ticket)
    together = one_run(dense, ticket, clusters=np.repeat(np.arange(40), 10))
    wide, narrow = (high - low for low, high in map(interval, (together, apart)))
    assert wide > 2.5 * narrow
    assert together.difference == apart.difference == pytest.approx(-10)
    alone = one_run(dense, ticket, clusters=np.zeros(400, dtype=np.int64))
    assert alone.status == "undecided"
    low, high = interval(alone)
    assert high - low > 90  # one text says next to nothing


def test_one_text_with_nearly_all_questions_outweighs_many_others() -> None:
    even = np.repeat(np.arange(400), 2)
    uneven = np.concatenate([np.zeros(401, dtype=np.int64), np.arange(1, 400)])
    right = np.ones(800)
    assert one_run(right, right, clusters=even).status == "matching"
    found = one_run(right, right, clusters=uneven)
    assert found.status == "undecided"
    assert interval(found)[0] < -20


def test_bootstrap_pairs_the_examples_of_a_correlation() -> None:
    generator = np.random.default_rng(3)
    labels, noise, little = generator.normal(size=(3, 200))
    dense = labels + noise
    ticket = dense + 0.05 * little

    def pearson(predictions: Any) -> Any:
        return lambda index: 100 * np.corrcoef(predictions[index], labels[index])[0, 1]

    test_set = ScoredExamples(examples=200, resolution=1.0)
    knobs: dict[str, Any] = {"test_set": test_set, "margin": 2.0, "sparsity": HALF}
    found = bootstrap(pearson(dense), pearson(ticket), generator=generator, **knobs)
    low, high = interval(found)
    assert found.status == "undecided"  # none of 200 examples lost is up to three points lost
    assert found.difference is not None
    assert low <= found.difference <= high < 4


def test_bootstrap_is_repeated_by_its_seed() -> None:
    dense, ticket = np.random.default_rng(4).integers(2, size=(2, 100))
    first, again, other = (one_run(dense, ticket, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first.difference == other.difference


@pytest.mark.parametrize(
    ("examples", "status"), [(9, "undecided"), (298, "undecided"), (299, "matching")]
)
def test_equal_predictions_match_where_the_examples_are_many(examples: int, status: Status) -> None:
    found = one_run(np.ones(examples), np.ones(examples))
    assert interval(found)[0] == pytest.approx(100 * (0.05 ** (1 / examples) - 1))
    assert found.status == status


def test_an_undefined_metric_is_refused() -> None:
    with pytest.raises(SpecError, match="undefined"):
        bootstrap(
            lambda _: 80.0,
            lambda index: float("nan") if index[0] == 1 else 80.0,
            test_set=ScoredExamples(examples=3, resolution=100 / 3),
            margin=1.0,
            sparsity=HALF,
            generator=np.random.default_rng(0),
        )
    with pytest.raises(SpecError, match="at least 2"):
        bootstrap(
            lambda _: 80.0,
            lambda _: 80.0,
            test_set=ScoredExamples(examples=1, resolution=100.0),
            margin=1.0,
            sparsity=HALF,
            generator=np.random.default_rng(0),
        )


def test_sentence_of_one_seed_is_about_this_run_only() -> None:
    found = one_run([1, 1, 0, 1] * 200, np.ones(800))
    assert found.seeds == 1
    assert found.estimand == THIS_RUN
    assert found.sentence().startswith("this run only: matching at 50 %: ticket minus dense is ")
    assert found.sentence().endswith("it says nothing about other seeds.")
