"""A plan's networks are judged with the seeds that there are, and for as many tasks as it has."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from paired_scores import verdict
from plan_rows import NUMERICS, network, plan, search
from tombola.base.errors import SpecError
from tombola.study.claims.claims import decide_claims
from tombola.study.statistics.power import seeds_needed
from tombola.study.table.grouping import by_network
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.matching import NetworkVerdict, matching
from tombola.study.verdicts.transfer import transfer_matrices
from tombola.study.verdicts.universality import universality
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH, THIS_RUN, Verdict


def rounds(task: str, *changes: float) -> list[Row]:
    return [
        row
        for number, change in enumerate(changes, start=1)
        for row in search(task, change, sparsity=Decimal(number) / 10)
    ]


def only(table: list[Row], **knobs: Any) -> NetworkVerdict:
    [found] = matching(table, **knobs).judged
    return found


def test_every_network_is_judged_against_dense_with_its_margin() -> None:
    found = matching(search("a", -0.3) + network("random", "a", -9.0, of="tickets", source="a"))
    ticket, control = found.judged
    assert ticket.verdict is not None
    assert ticket.verdict.status == "matching"
    assert ticket.verdict.estimand == SEARCH
    assert control.verdict is not None
    assert control.verdict.status == "not matching"
    assert (ticket.within_dense_sd, control.within_dense_sd) == (True, False)
    assert ticket.p_value < 0.05 < control.p_value


def test_one_mask_under_several_seeds_is_a_fixed_ticket() -> None:
    fixed = only([replace(row, mask_key="m") for row in network("one-shot", "a", 0.0)])
    assert fixed.verdict is not None
    assert fixed.verdict.estimand == FIXED_TICKET


def test_highest_winning_sparsity_stops_at_the_first_failure() -> None:
    found = matching(rounds("a", 0.0, -0.1, -9.0, 0.0) + rounds("b", -9.0, 0.0))
    assert [(first.row.target, highest) for first, highest in found.highest] == [
        ("a", Decimal("0.2")),
        ("b", None),
    ]


def test_highest_winning_sparsity_stops_at_a_gap() -> None:
    table = rounds("a", 0.0, 0.0, 0.0)
    gap = [
        replace(row, score=None, state="missing") if row.sparsity == Decimal("0.2") else row
        for row in table
    ]
    [(_, highest)] = matching(gap).highest
    assert highest == Decimal("0.1")


def test_the_last_rounds_of_all_tasks_are_tested_together() -> None:
    found = matching(rounds("a", 0.0, 0.0) + rounds("b", 0.0, -9.0) + rounds("c", 0.0, 0.0, 0.0))
    before, last = found.families  # only one task has a round before these
    assert (before.answer.status, before.sparsities) == (
        "matching",
        (Decimal("0.1"), Decimal("0.2")),
    )
    assert (last.answer.status, last.answer.matching) == ("not matching", ("a", "c"))


def test_each_task_of_a_family_counts_once_with_holms_correction() -> None:
    found = matching(rounds("a", 0.0) + rounds("b", -0.9) + rounds("c", -9.0))
    [family] = found.families
    assert family.sparsities == (Decimal("0.1"),)
    assert family.answer.status == "not matching"
    assert family.answer.matching == ("a",)
    a, b, _ = found.judged
    assert a.adjusted_p_value == pytest.approx(3 * a.p_value)
    assert b.adjusted_p_value == pytest.approx(2 * b.p_value)


def test_moved_tickets_are_a_family_for_each_source() -> None:
    table = [
        row
        for source in "ab"
        for target in "ab"
        for row in network("transfer", target, 0.0, arm="moved", source=source)
    ]
    assert [(each.source, each.answer.tasks) for each in matching(table).families] == [
        ("a", 2),
        ("b", 2),
    ]


def test_false_matching_on_every_task_is_as_rare_as_the_level() -> None:
    """One task at its margin, the others far above it: the hardest case."""
    generator = np.random.default_rng(0)
    runs, wrong = 400, 0
    for _ in range(runs):
        table = [
            row
            for task, change in (("a", -1.0), ("b", 5.0), ("c", 5.0))
            for row in search(task, change, wobble=list(generator.normal(0, 0.5, 3)))
        ]
        answer = universality([Comparison(rows) for rows in by_network(table)])
        wrong += answer.status == "matching"
    assert wrong / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_seeds_needed_come_from_ten_dense_runs_or_more_wherever_they_stand() -> None:
    spread = [float(each) for each in np.linspace(-2, 2, 10)]
    dense = network(
        "dense", "a", 0.0, wobble=[0.0] * 10, dense=[80 + x for x in spread], sparsity=None
    )
    noisy = search("a", 0.0, wobble=(3.0, -3.0, 0.5), dense=[80 + x for x in spread[:3]])
    found = matching(dense + noisy)
    [spread_of_a] = found.spreads
    needed = seeds_needed(float(np.std(spread, ddof=1)), 1.0, resolution=0.05)
    assert (spread_of_a.runs, spread_of_a.seeds_needed) == (10, needed)
    assert found.judged[0].verdict is not None
    assert found.judged[0].verdict.seeds_needed == needed
    few = matching(dense[:9] + noisy)
    assert few.spreads[0].seeds_needed is None
    assert few.judged[0].verdict is not None
    assert few.judged[0].verdict.seeds_needed is None


def test_the_sign_flip_test_is_made_where_its_seeds_suffice() -> None:
    wobble = [0.1 * n for n in range(5)]
    several = search("a", 0.0, wobble=wobble, dense=[80.0] * 5)
    assert only(several).sign_flip_p_value == pytest.approx(2**-5)
    few = search("a", 0.0, wobble=[0.0] * 5, dense=[80.0] * 5, resolution=100 / 35)
    assert only(few).sign_flip_p_value == pytest.approx(0.99 ** (5 * 35), rel=1e-6)
    assert only(search("a", 0.0)).sign_flip_p_value is None


def test_one_seed_is_judged_for_this_run_only() -> None:
    given = verdict("matching", "0.7", estimand=THIS_RUN, seeds=1)
    one = search("a", 0.0)[:1]
    assert only(one, one_run=lambda row: given).verdict == given
    silent = only(one)
    assert (silent.verdict, silent.why) == (None, "one seed says nothing about others")
    assert silent.p_value == 1.0


def test_a_metric_that_is_undefined_on_one_network_spares_the_verdicts_on_others() -> None:
    def undefined(row: Row) -> Verdict:
        raise SpecError("the metric is undefined. Use more test examples.")

    found = matching(search("a", 0.0)[:1] + search("b", 0.0), one_run=undefined)
    assert [each.verdict is None for each in found.judged] == [True, False]
    assert found.judged[0].why == "the metric is undefined. Use more test examples"


def test_no_verdict_is_given_before_all_seeds_are_there() -> None:
    half = search("a", 0.0, wobble=(0.0, 0.1, -0.1, 0.0), dense=(80.0, None, 80.1, 80.2))
    found = matching(half + search("b", 0.0) + search("c", None))
    a, _, c = found.judged
    assert (a.verdict, a.pair.gaps) == (None, [1])
    assert a.why == "3 of 4 seeds are there, and a verdict takes all of them"
    assert (a.p_value, a.within_dense_sd) == (1.0, None)
    assert (c.verdict, c.why) == (None, "no seed is there yet")
    [family] = found.families
    assert family.answer.status == "undecided"
    assert family.answer.unfinished == ("a", "c")
    json.dumps(found.to_json())


def test_a_run_that_diverged_leaves_no_verdict_instead_of_being_left_out() -> None:
    table = search("a", 0.0)
    table[1] = replace(table[1], score=None, state="diverged")
    found = only(table)
    assert found.verdict is None
    assert found.why.startswith("imp, seed 1 (tickets.imp.")
    assert found.why.endswith("), diverged")


def test_a_dense_run_that_diverged_is_named_as_what_leaves_no_verdict() -> None:
    table = [replace(row, dense=None) if row.seed == 2 else row for row in search("a", 0.0)]
    assert only(table).why == "dense, seed 2 (dense.a.2), diverged"


def test_mixed_numerics_are_refused() -> None:
    table = search("a", 0.0)
    table[2] = replace(table[2], dense_numerics={**NUMERICS, "threads": 4})
    with pytest.raises(SpecError, match=r"threads is 1 in .* and 4 in dense on a, seed 2"):
        matching(table)


@pytest.mark.parametrize(("trivial", "warned"), [(50.0, False), (79.5, True)])
def test_dense_runs_that_have_hardly_learned_are_named(trivial: float, warned: bool) -> None:
    [found] = matching(search("a", 0.0, trivial=trivial)).spreads
    assert ("has not learned the task" in found.warning) is warned


@pytest.mark.parametrize("change", [0.0, -9.0])
@pytest.mark.parametrize(("trivial", "decided"), [(79.2, True), (79.4, False), (90.0, False)])
def test_nothing_follows_where_dense_gains_no_more_than_the_margin(
    change: float, trivial: float, decided: bool
) -> None:
    found = matching(search("a", change, trivial=trivial) + search("b", change))
    a = found.judged[0]
    assert a.verdict is not None
    assert a.verdict.difference == pytest.approx(change, abs=0.1)
    [family] = found.families
    if decided:
        assert a.verdict.reason is None
        assert a.verdict.status == family.answer.status != "undecided"
        return
    assert (a.verdict.status, a.verdict.reason) == ("undecided", "dense has not learned")
    assert a.verdict.to_json()["reason"] == "dense has not learned"
    assert f"the best constant {trivial:.2f}" in a.verdict.sentence()
    assert a.p_value == 1.0
    assert family.answer.unlearned == ("a",)
    assert family.answer.status == ("undecided" if change == 0 else "not matching")
    assert "dense has not learned: a" in family.answer.sentence()
    assert found.highest[0][1] is None


@pytest.mark.parametrize(
    ("fields", "gone", "reason"),
    [
        ({"trivial": 79.9}, (), "dense has not learned"),
        ({"trivial": 79.9}, ("missing",), "dense has not learned"),
        ({}, ("missing",), "seeds are missing"),
        ({}, ("diverged",), ", seed 0, diverged"),
    ],
)
def test_every_verb_gives_the_same_reason_for_deciding_nothing(
    fields: dict[str, Any], gone: tuple[str, ...], reason: str
) -> None:
    table = [replace(row, **fields) for row in plan()]
    for state in gone:
        table = [
            replace(row, state=state, score=None, difference=None)
            if row.seed == 0 and row.sparsity
            else row
            for row in table
        ]
    found = matching(table).to_json()
    answers = [*found["networks"], *(each["answer"] for each in found["every_task"])]
    answers += [claim.to_json() for claim in decide_claims(table)]
    answers += [part for claim in decide_claims(table) for part in claim.to_json()["parts"]]
    for matrix in transfer_matrices(table):
        answers += [source["universality"] for source in matrix.to_json()["sources"]]
    assert {each["status"] for each in answers} == {"undecided"}
    assert all(each["reason"].endswith(reason) for each in answers), answers
    places = [
        p for m in transfer_matrices(table) for s in m.to_json()["sources"] for p in s["places"]
    ]
    assert all(place["minus_dense"]["reason"].endswith(reason) for place in places)


def test_what_is_decided_has_no_reason() -> None:
    found = matching(plan()).to_json()
    answers = [*found["networks"], *(each["answer"] for each in found["every_task"])]
    answers += [claim.to_json() for claim in decide_claims(plan())]
    assert {each["reason"] for each in answers if each["status"] != "undecided"} == {None}


def test_nothing_follows_where_the_score_of_a_constant_is_unknown() -> None:
    found = only(search("a", 0.0, trivial=None))
    assert found.verdict is not None
    assert found.verdict.status == "undecided"


def test_highest_winning_sparsity_waits_for_all_seeds() -> None:
    table = search("a", 0.0)
    gone: dict[str, Any] = {"state": "missing", "score": None, "numerics": None}
    unfinished = [replace(row, **gone) if row.seed else row for row in table]
    whole = matching(table)
    assert whole.highest[0][1] == Decimal("0.7")
    assert whole.judged[0].verdict is not None
    one_seed = replace(whole.judged[0].verdict, seeds=1)
    [(first, highest)] = matching(unfinished, lambda row: one_seed).highest
    assert first.verdict is None
    assert highest is None


def test_a_task_on_which_a_run_diverged_is_not_waited_for() -> None:
    lost = [
        replace(row, score=None, difference=None, state="diverged") if row.seed == 1 else row
        for row in search("a", 0.0)
    ]
    found = matching([*lost, *search("b", 0.0)])
    [family] = found.families
    assert (family.answer.status, family.answer.diverged) == ("undecided", ("a",))
    assert family.answer.unfinished == ()
    assert "; diverged: a" in family.answer.sentence()
    assert found.highest[0][1] is None


def test_an_undecided_network_says_where_it_may_be_and_which_seed_to_run_next() -> None:
    near, far = search("a", 0.0, wobble=(0.9, -0.9, 0.3)), search("b", -1.0, wobble=(2, -2, 0))
    found = matching(near + far + search("c", 0.0))
    outlooks = [each.verdict.outlook for each in found.judged if each.verdict]
    assert [outlook is None for outlook in outlooks] == [False, False, True]
    assert outlooks[0]
    assert outlooks[0].within > 0.5
    assert found.next_seed is found.judged[0]
    assert found.to_json()["next_seed"]["target"] == "a"
    assert matching(search("c", 0.0)).to_json()["next_seed"] is None
    flat = [replace(row, trivial=80.0) for row in near]
    [judged] = matching(flat).judged
    assert judged.verdict
    assert (judged.verdict.outlook, judged.next_seed) == (None, 0.0)
