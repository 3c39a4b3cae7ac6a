"""Intervals have the coverage they claim, and sentences claim no more than the intervals."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tombola.base.errors import SpecError
from tombola.lab.store.numerics import refuse_mixed
from tombola.study.statistics.power import matching_power, seeds_needed
from tombola.study.table.margins import margin_of, margin_rule
from tombola.study.verdicts.example_bootstrap import ScoredExamples, bootstrap
from tombola.study.verdicts.paired_t import (
    highest_matching,
    paired_t,
    within_one_dense_sd,
    within_one_pooled_sd,
)
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH, THIS_RUN, Status, Verdict
from tombola.tasks.task import load_task

HALF = Decimal("0.5")
FINE = 1e-6
"""The resolution of a test set so large that it bounds nothing."""
PUBLISHED_POWER = {3: 0.17, 5: 0.33, 10: 0.64, 15: 0.81}
points = st.floats(0, 100).map(lambda score: round(score, 3))


def judge(dense: list[float], ticket: list[float], **knobs: Any) -> Verdict:
    given: dict[str, Any] = {"margin": 1.0, "sparsity": HALF, "resolution": FINE} | knobs
    return paired_t(dense, ticket, **given)


def interval(found: Verdict) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


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


def verdict(status: Status, sparsity: str) -> Verdict:
    return Verdict(
        status=status,
        sparsity=Decimal(sparsity),
        difference=0.0,
        interval=(-0.5, 0.5),
        margin=1.0,
        level=0.9,
        estimand=SEARCH,
        seeds=3,
    )


def simulate(
    seeds: int, difference: float, *, runs: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Independent dense and ticket scores [runs, seeds], each of sd 1."""
    generator = np.random.default_rng(seeds)
    dense = generator.normal(80, 1, (runs, seeds))
    return dense, generator.normal(80 + difference, 1, (runs, seeds))


def lower_ends(dense: np.ndarray[Any, Any], ticket: np.ndarray[Any, Any]) -> Any:
    interval = stats.ttest_rel(ticket, dense, axis=1).confidence_interval(0.90)
    return interval.low


def test_margin_is_a_point_or_a_twentieth_of_the_gain() -> None:
    assert margin_rule(80, 70) == 1.0
    assert margin_rule(90, 50) == 2.0
    assert margin_rule(50, 60) == 1.0
    assert margin_rule(90, 50, point=0.5, share=0.01) == 0.5


@given(st.lists(st.tuples(points, points), min_size=2, max_size=12))
@settings(deadline=None)
def test_interval_is_scipys_paired_t(pairs: list[tuple[float, float]]) -> None:
    dense, ticket = (list(scores) for scores in zip(*pairs, strict=True))
    low, high = interval(judge(dense, ticket))
    differences = [b - a for a, b in pairs]
    if np.ptp(differences) > 1e-4:
        expected = stats.ttest_rel(ticket, dense).confidence_interval(0.90)
        np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-4)


def test_statuses_follow_the_interval() -> None:
    dense = [80.0, 81.0, 82.0]
    assert judge(dense, [79.8, 80.7, 81.9]).status == "matching"
    assert judge(dense, [75.0, 76.0, 77.3]).status == "not matching"
    assert judge(dense, [77.0, 80.0, 80.0]).status == "undecided"


def test_better_than_dense_is_matching_however_wide() -> None:
    found = judge([80.0, 81.0, 82.0], [90.0, 95.0, 99.0])
    assert found.status == "matching"
    assert "better than dense" in found.sentence()


def test_noise_alone_is_never_matching() -> None:
    assert judge([80.0, 90.0], [90.0, 80.0]).status == "undecided"


def test_false_matching_is_as_rare_as_the_level_says_at_the_margin() -> None:
    runs = 1500
    dense, ticket = simulate(4, -1.0, runs=runs)
    verdicts = [judge(list(a), list(b)) for a, b in zip(dense, ticket, strict=True)]
    rate = sum(found.status == "matching" for found in verdicts) / runs
    assert rate < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    covered = sum(interval(found)[0] <= -1.0 <= interval(found)[1] for found in verdicts) / runs
    assert covered == pytest.approx(0.90, abs=3 * np.sqrt(0.9 * 0.1 / runs))


@pytest.mark.parametrize("seeds", PUBLISHED_POWER)
def test_power_is_the_simulated_one(seeds: int) -> None:
    dense, ticket = simulate(seeds, 0.0, runs=20_000)
    low = lower_ends(dense, ticket)
    assert np.mean(low > -1) == pytest.approx(matching_power(seeds, 1.0, 1.0), abs=0.012)
    # With the sd these same runs show as the margin, power is a little lower.
    own = np.std(dense, axis=1, ddof=1)
    assert np.mean(low > -own) == pytest.approx(PUBLISHED_POWER[seeds], abs=0.015)
    assert matching_power(seeds, 1.0, 1.0) > PUBLISHED_POWER[seeds]


@pytest.mark.parametrize("dense_sd", [0.2, 0.7, 1.0, 3.0])
def test_seeds_needed_is_the_fewest(dense_sd: float) -> None:
    seeds = seeds_needed(dense_sd, 1.0, resolution=FINE)
    assert matching_power(seeds, dense_sd, 1.0) >= 0.80
    assert seeds == 2 or matching_power(seeds - 1, dense_sd, 1.0) < 0.80


@pytest.mark.parametrize(
    ("dense_sd", "examples"), [(0.0, 35), (0.3, 100), (1.0, 100), (0.5, 400), (3.0, 50)]
)
def test_so_many_seeds_do_settle_it_on_few_examples(dense_sd: float, examples: int) -> None:
    resolution, runs = 100 / examples, 400
    rounded = float(np.hypot(dense_sd, resolution / np.sqrt(12))) if dense_sd else 0.0
    seeds = seeds_needed(rounded, 1.5, resolution=resolution)
    generator = np.random.default_rng(examples)
    scores = generator.normal(80, dense_sd, (runs, 2, seeds))
    scores += generator.uniform(-0.5, 0.5, (runs, 1, 1)) * resolution
    scores = np.round(scores / resolution) * resolution
    won = [judge(list(a), list(b), margin=1.5, resolution=resolution) for a, b in scores]
    assert np.mean([each.status == "matching" for each in won]) > 0.74


def test_seeds_needed_at_its_extremes() -> None:
    assert seeds_needed(1.0, 1.0, resolution=FINE) == 14
    assert seeds_needed(0.0, 1.0, resolution=FINE) == seeds_needed(1e-9, 1.0, resolution=FINE) == 2
    assert seeds_needed(1e6, 1.0, resolution=FINE) > 10**13
    assert seeds_needed(1.0, 1.0, power=0.01, resolution=FINE) == 2
    for sd, delta in ((1.0, 0.0), (float("nan"), 1.0), (-1.0, 1.0), (1.0, float("inf"))):
        with pytest.raises(SpecError):
            seeds_needed(sd, delta, resolution=FINE)


def test_seeds_needed_is_told_only_with_a_spread_worth_planning_with() -> None:
    dense, ticket = [80.0, 81.0, 82.0], [77.0, 80.0, 80.0]
    assert judge(dense, ticket).seeds_needed is None
    told = judge(dense, ticket, dense_sd=1.0)
    assert told.seeds_needed == 14
    assert "n = 14 seeds would settle this" in told.sentence()
    many = np.arange(10.0)
    found = judge(list(80 + many), list(80 + many[::-1]))
    assert found.seeds_needed == seeds_needed(float(np.std(many, ddof=1)), 1.0, resolution=FINE)
    assert judge(dense, ticket, dense_sd=0.1).seeds_needed is None
    assert judge(dense, [79.0, 80.0, 81.1], dense_sd=5.0, margin=5.0).seeds_needed is None


@pytest.mark.parametrize(("examples", "status"), [(16, "undecided"), (2000, "matching")])
def test_equal_differences_are_as_sure_as_the_test_set_is_large(
    examples: int, status: Status
) -> None:
    found = judge([90.0, 80.0, 70.0], [90.0, 80.0, 70.0], resolution=100 / examples)
    low, high = interval(found)
    assert (low, high) == pytest.approx((-high, -low))
    assert high == pytest.approx(100 * (1 - 0.05 ** (1 / (3 * examples))), rel=0.5)
    assert found.status == status


def test_two_right_answers_of_two_prove_nothing() -> None:
    assert judge([100.0, 100.0], [100.0, 100.0], resolution=50).status == "undecided"
    assert one_run([1, 1], [1, 1]).status == "undecided"


def test_an_interval_that_ends_at_the_limit_decides_nothing() -> None:
    assert judge([80.0, 81.0], [79.0, 80.0]).status == "undecided"


@pytest.mark.parametrize(
    ("dense", "ticket", "told"),
    [
        ([80.0, 81.0], [79.0], "got 2 and 1"),
        ([80.0], [79.0], "2 or more"),
        ([80.0, float("nan")], [79.0, 80.0], "got nan"),
        ([80.0, 81.0], [79.0, float("inf")], "got inf"),
    ],
)
def test_unusable_scores_are_refused_in_one_line(
    dense: list[float], ticket: list[float], told: str
) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        judge(dense, ticket)
    assert "\n" not in str(caught.value)


def test_unusable_knobs_are_refused() -> None:
    for knobs in ({"margin": -1.0}, {"margin": float("nan")}, {"level": 90}):
        with pytest.raises(SpecError):
            judge([80.0, 81.0], [80.0, 81.0], **knobs)


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


def test_sentence_of_several_seeds() -> None:
    found = judge([80.0, 81.0, 82.0], [79.6, 80.8, 81.7])
    assert found.sentence() == (
        "matching at 50 %: ticket minus dense is -0.3 points (90 % interval -0.5 to -0.1), "
        "within the margin of 1.0; three seeds."
    )
    fixed = judge([80.0] * 12, [75.0, 76.0] * 6, estimand=FIXED_TICKET)
    assert fixed.sentence() == (
        "not matching at 50 %: ticket minus dense is -4.5 points (90 % interval -4.8 to -4.2), "
        "worse than the margin of 1.0 allows; one fixed ticket on 12 fresh seeds."
    )


@given(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)).map(lambda ends: (min(ends), max(ends))),
    st.sampled_from(["0.5", "0.488", "0.9999"]),
)
def test_sentence_never_shows_an_end_across_the_limit(
    ends: tuple[float, float], sparsity: str
) -> None:
    ends = (round(ends[0], 3), round(ends[1], 3))
    found = Verdict(
        status="undecided",
        sparsity=Decimal(sparsity),
        difference=sum(ends) / 2,
        interval=ends,
        margin=1.0,
        level=0.9,
        estimand=SEARCH,
        seeds=5,
    )
    shown = found.sentence().split("interval ")[1].split(")")[0].split(" to ")
    for end, text in zip(ends, shown, strict=True):
        assert (end > -1) == (float(text) > -1)
        assert (end > 0) == (float(text) > 0)
    assert f"{100 * float(sparsity):g} %" in found.sentence()


def test_json_holds_the_fields_and_the_sentence() -> None:
    found = judge([80.0, 81.0, 82.0], [79.0, 80.5, 81.1])
    record = found.to_json()
    assert record["sparsity"] == "0.5"
    assert record["interval"] == list(interval(found))
    assert record["reason"] is None
    assert record["sentence"] == found.sentence()
    assert judge([80.0, 81.0], [80.0, 81.0], sparsity=None).to_json()["sparsity"] is None


def test_one_dense_sd_passes_a_ticket_a_full_sd_worse_nearly_every_other_time() -> None:
    dense, ticket = simulate(5, -1.0, runs=1500)
    passed = [within_one_dense_sd(list(a), list(b)) for a, b in zip(dense, ticket, strict=True)]
    assert np.mean(passed) == pytest.approx(0.46, abs=0.04)


def test_pooled_sd_counts_the_spread_of_the_ticket_too() -> None:
    dense, ticket = [80.0, 80.2], [76.0, 80.0]
    assert not within_one_dense_sd(dense, ticket)
    assert within_one_pooled_sd(dense, [76.5, 81.5])
    assert not within_one_pooled_sd(dense, ticket)
    assert within_one_dense_sd([80.0, 82.0], [80.0, 80.0])
    with pytest.raises(SpecError):
        within_one_dense_sd([80.0], [80.0])


def test_highest_winning_stops_at_the_first_failure() -> None:
    statuses: list[Status] = ["matching", "matching", "undecided", "matching"]
    verdicts = [verdict(status, f"0.{n}") for n, status in enumerate(statuses, start=1)]
    assert highest_matching(verdicts) == verdicts[1]
    assert highest_matching(verdicts[2:]) is None
    assert highest_matching([]) is None


def test_highest_winning_refuses_sparsities_that_do_not_rise() -> None:
    for sparsities in (["0.5", "0.3"], ["0.5", "0.50"]):
        with pytest.raises(SpecError, match="lowest first"):
            highest_matching([verdict("matching", sparsity) for sparsity in sparsities])


def test_mixed_numerics_are_refused_with_both_values() -> None:
    record = {"threads": 4, "precision": "fp32"}
    refuse_mixed([])
    refuse_mixed([record, dict(record)])
    with pytest.raises(SpecError, match="threads is 4 in run 1 and 8 in run 3"):
        refuse_mixed([record, record, {"threads": 8, "precision": "fp32"}])
    with pytest.raises(SpecError, match="isa is not recorded in run 1 and avx2 in run 2"):
        refuse_mixed([record, {**record, "isa": "avx2"}])


def test_a_margin_of_one_point_says_why() -> None:
    task = replace(load_task("sentiment"), by_rule=True, margin=1.0)
    there, gone = margin_of(task, None, tried=True), margin_of(task, None)
    assert (there.points, gone.points) == (1.0, 1.0)
    assert "dense diverged" in there.notes[0]
    assert "there is no dev split" in gone.notes[0]
