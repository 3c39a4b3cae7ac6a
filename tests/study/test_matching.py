"""Intervals have the coverage they claim, and sentences claim no more than the intervals."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tombola.errors import SpecError
from tombola.lab.numerics import refuse_mixed
from tombola.study.matching import (
    bootstrap,
    bootstrap_mean,
    highest_winning,
    margin,
    paired_t,
    within_one_dense_sd,
    within_one_pooled_sd,
)
from tombola.study.power import matching_power, seeds_needed
from tombola.study.verdict import FIXED_TICKET, SEARCH, THIS_RUN, Status, Verdict

HALF = Decimal("0.5")
PUBLISHED_POWER = {3: 0.17, 5: 0.33, 10: 0.64, 15: 0.81}
points = st.floats(0, 100).map(lambda score: round(score, 3))


def judge(dense: list[float], ticket: list[float], **knobs: Any) -> Verdict:
    given: dict[str, Any] = {"margin": 1.0, "sparsity": HALF} | knobs
    return paired_t(dense, ticket, **given)


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
    assert margin(80, 70) == 1.0
    assert margin(90, 50) == 2.0
    assert margin(50, 60) == 1.0
    assert margin(90, 50, point=0.5, share=0.01) == 0.5


@given(st.lists(st.tuples(points, points), min_size=2, max_size=12))
def test_interval_is_scipys_paired_t(pairs: list[tuple[float, float]]) -> None:
    dense, ticket = (list(scores) for scores in zip(*pairs, strict=True))
    low, high = judge(dense, ticket).interval
    differences = [b - a for a, b in pairs]
    if np.ptp(differences) > 1e-4:
        expected = stats.ttest_rel(ticket, dense).confidence_interval(0.90)
        np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-7)


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
    covered = sum(found.interval[0] <= -1.0 <= found.interval[1] for found in verdicts) / runs
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
    seeds = seeds_needed(dense_sd, 1.0)
    assert matching_power(seeds, dense_sd, 1.0) >= 0.80
    assert seeds == 2 or matching_power(seeds - 1, dense_sd, 1.0) < 0.80


def test_seeds_needed_at_its_extremes() -> None:
    assert seeds_needed(1.0, 1.0) == 14
    assert seeds_needed(0.0, 1.0) == seeds_needed(1e-9, 1.0) == 2
    assert seeds_needed(1e6, 1.0) > 10**13
    assert seeds_needed(1.0, 1.0, power=0.01) == 2
    for sd, delta in ((1.0, 0.0), (float("nan"), 1.0), (-1.0, 1.0), (1.0, float("inf"))):
        with pytest.raises(SpecError):
            seeds_needed(sd, delta)


def test_seeds_needed_is_told_only_with_a_spread_worth_planning_with() -> None:
    dense, ticket = [80.0, 81.0, 82.0], [77.0, 80.0, 80.0]
    assert judge(dense, ticket).seeds_needed is None
    told = judge(dense, ticket, dense_sd=1.0)
    assert told.seeds_needed == 14
    assert "n = 14 seeds would settle this" in told.sentence()
    many = np.arange(10.0)
    found = judge(list(80 + many), list(80 + many[::-1]))
    assert found.seeds_needed == seeds_needed(float(np.std(many, ddof=1)), 1.0)
    assert judge(dense, ticket, dense_sd=0.1).seeds_needed is None
    assert judge(dense, [79.0, 80.0, 81.1], dense_sd=5.0, margin=5.0).seeds_needed is None


def test_equal_differences_give_an_interval_without_width() -> None:
    # 91.2 - 91.5 and 81.2 - 81.5 differ in their last bit.
    found = judge([91.5, 81.5, 71.5], [91.2, 81.2, 71.2])
    assert found.interval == (-0.3, -0.3)
    assert found.status == "matching"
    assert "all with the same difference" in found.sentence()


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
    found = bootstrap_mean(dense, ticket, margin=1.0, sparsity=HALF, generator=generator)
    np.testing.assert_allclose(found.interval, expected, atol=0.15)
    assert found.difference == pytest.approx(np.mean(difference))
    general = bootstrap(
        lambda index: float(100 * dense[index].mean()),
        lambda index: float(100 * ticket[index].mean()),
        examples=1000,
        margin=1.0,
        sparsity=HALF,
        generator=generator,
    )
    np.testing.assert_allclose(general.interval, expected, atol=0.15)


def test_bootstrap_of_many_distinct_scores_needs_several_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(2)
    dense, ticket = generator.random((2, 300))
    monkeypatch.setattr("tombola.study.matching.CHUNK", 300 * 4_001)
    found = bootstrap_mean(dense, ticket, margin=1.0, sparsity=None, generator=generator)
    half = 1.645 * 100 * np.std(ticket - dense) / np.sqrt(300)
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * half, rel=0.05)


def test_bootstrap_pairs_the_examples_of_a_correlation() -> None:
    generator = np.random.default_rng(3)
    labels, noise, little = generator.normal(size=(3, 200))
    dense = labels + noise
    ticket = dense + 0.05 * little

    def pearson(predictions: Any) -> Any:
        return lambda index: 100 * np.corrcoef(predictions[index], labels[index])[0, 1]

    knobs: dict[str, Any] = {"examples": 200, "margin": 2.0, "sparsity": HALF}
    found = bootstrap(pearson(dense), pearson(ticket), generator=generator, **knobs)
    assert found.status == "matching"
    assert found.interval[1] - found.interval[0] < 1.5
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_bootstrap_is_repeated_by_its_seed() -> None:
    dense, ticket = np.random.default_rng(4).integers(2, size=(2, 100))
    first, again, other = (
        bootstrap_mean(
            dense, ticket, margin=1.0, sparsity=HALF, generator=np.random.default_rng(seed)
        )
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first.difference == other.difference


def test_equal_predictions_match_this_run() -> None:
    found = bootstrap_mean(
        np.ones(9), np.ones(9), margin=1.0, sparsity=HALF, generator=np.random.default_rng(0)
    )
    assert found.interval == (0.0, 0.0)
    assert found.status == "matching"


def test_an_undefined_metric_is_refused() -> None:
    with pytest.raises(SpecError, match="undefined"):
        bootstrap(
            lambda _: 80.0,
            lambda index: float("nan") if index[0] == 1 else 80.0,
            examples=3,
            margin=1.0,
            sparsity=HALF,
            generator=np.random.default_rng(0),
        )
    with pytest.raises(SpecError, match="at least 2"):
        bootstrap(
            lambda _: 80.0,
            lambda _: 80.0,
            examples=1,
            margin=1.0,
            sparsity=HALF,
            generator=np.random.default_rng(0),
        )


def test_sentence_of_one_seed_is_about_this_run_only() -> None:
    found = bootstrap_mean(
        [1, 1, 0, 1], [1, 1, 1, 1], margin=1.0, sparsity=HALF, generator=np.random.default_rng(0)
    )
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
    interval: tuple[float, float], sparsity: str
) -> None:
    interval = (round(interval[0], 3), round(interval[1], 3))
    found = Verdict(
        status="undecided",
        sparsity=Decimal(sparsity),
        difference=sum(interval) / 2,
        interval=interval,
        margin=1.0,
        level=0.9,
        estimand=SEARCH,
        seeds=5,
    )
    shown = found.sentence().split("interval ")[1].split(")")[0].split(" to ")
    for end, text in zip(interval, shown, strict=True):
        assert (end > -1) == (float(text) > -1)
        assert (end > 0) == (float(text) > 0)
    assert f"{100 * float(sparsity):g} %" in found.sentence()


def test_json_holds_the_fields_and_the_sentence() -> None:
    found = judge([80.0, 81.0, 82.0], [79.0, 80.5, 81.1])
    record = found.to_json()
    assert record["sparsity"] == "0.5"
    assert record["interval"] == list(found.interval)
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
    assert highest_winning(verdicts) == verdicts[1]
    assert highest_winning(verdicts[2:]) is None
    assert highest_winning([]) is None


def test_highest_winning_refuses_sparsities_that_do_not_rise() -> None:
    for sparsities in (["0.5", "0.3"], ["0.5", "0.50"]):
        with pytest.raises(SpecError, match="lowest first"):
            highest_winning([verdict("matching", sparsity) for sparsity in sparsities])


def test_mixed_numerics_are_refused_with_both_values() -> None:
    record = {"threads": 4, "precision": "fp32"}
    refuse_mixed([])
    refuse_mixed([record, dict(record)])
    with pytest.raises(SpecError, match="threads is 4 in run 1 and 8 in run 3"):
        refuse_mixed([record, record, {"threads": 8, "precision": "fp32"}])
    with pytest.raises(SpecError, match="isa is not recorded in run 1 and avx2 in run 2"):
        refuse_mixed([record, {**record, "isa": "avx2"}])
