"""Intervals have the coverage they claim, and sentences claim no more than the intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paired_scores import FINE, drawn, interval, judge, verdict
from tombola.base.errors import SpecError
from tombola.study.statistics.power import seeds_needed
from tombola.study.verdicts.paired_t import (
    highest_matching,
    within_one_dense_sd,
    within_one_pooled_sd,
)
from tombola.study.verdicts.verdict import FIXED_TICKET, Status

points = st.floats(0, 100).map(lambda score: round(score, 3))


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
    dense, ticket = drawn(4, -1.0, runs=runs)
    verdicts = [judge(list(a), list(b)) for a, b in zip(dense, ticket, strict=True)]
    rate = sum(found.status == "matching" for found in verdicts) / runs
    assert rate < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    covered = sum(interval(found)[0] <= -1.0 <= interval(found)[1] for found in verdicts) / runs
    assert covered == pytest.approx(0.90, abs=3 * np.sqrt(0.9 * 0.1 / runs))


def test_seeds_needed_takes_a_spread_worth_planning_with() -> None:
    dense, ticket = [80.0, 81.0, 82.0], [77.0, 80.0, 80.0]
    assert judge(dense, ticket).seeds_needed is None
    known = judge(dense, ticket, dense_sd=1.0)
    assert known.seeds_needed == 14
    assert "n = 14 seeds would settle this" in known.sentence()
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


def test_an_interval_that_ends_at_the_limit_decides_nothing() -> None:
    assert judge([80.0, 81.0], [79.0, 80.0]).status == "undecided"


@pytest.mark.parametrize(
    ("dense", "ticket", "message"),
    [
        ([80.0, 81.0], [79.0], "got 2 and 1"),
        ([80.0], [79.0], "2 or more"),
        ([80.0, float("nan")], [79.0, 80.0], "got nan"),
        ([80.0, 81.0], [79.0, float("inf")], "got inf"),
    ],
)
def test_unusable_scores_are_refused_in_one_line(
    dense: list[float], ticket: list[float], message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        judge(dense, ticket)
    assert "\n" not in str(caught.value)


def test_unusable_knobs_are_refused() -> None:
    for knobs in ({"margin": -1.0}, {"margin": float("nan")}, {"level": 90}):
        with pytest.raises(SpecError):
            judge([80.0, 81.0], [80.0, 81.0], **knobs)


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
    found = verdict("undecided", sparsity, difference=sum(ends) / 2, interval=ends, seeds=5)
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
    dense, ticket = drawn(5, -1.0, runs=1500)
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
