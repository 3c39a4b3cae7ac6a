"""A claim follows its rows: it is reproduced, contradicted or undecided as they say."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decided_claims import Edit, by_id, edited
from plan_rows import NUMERICS, TASKS, network, plan, search
from tombola.base.errors import SpecError
from tombola.study.claims.claims import decide_claim, decide_claims
from tombola.study.claims.rules import QUANTIFIERS, ClaimPart, Rule, read_rules
from tombola.study.table.row import Row
from tombola.study.verdicts.selection import NetworkFilter, SparsityRange

EARLY = [row for task in TASKS for row in search(task, 0.0, arm="early", sparsity=Decimal("0.4"))]
"""Rounds at the sparsity where the first claim can be contradicted."""


def test_rows_as_in_the_paper_reproduce_every_claim() -> None:
    found = decide_claims(plan())
    assert [claim.id for claim in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {claim.status for claim in found} == {"reproduced"}
    for claim in found:
        record = json.loads(json.dumps(claim.to_json()))
        low, high = record["interval"]
        assert low <= record["effect"] <= high
        assert set(record["runs"]) <= {row.key for row in plan()} | {
            row.dense_key for row in plan()
        }
        assert record["runs"]
        assert not record["missing"]


@pytest.mark.parametrize(
    ("number", "edit"),
    [
        (1, lambda row: -9.0 if (row.arm, row.target) == ("early", "a") else 0.0),
        (2, lambda row: 25.0 if (row.kind, row.target) == ("shuffle", "b") else 0.0),
        (3, lambda row: 9.0 if (row.arm, row.target) == ("late", "c") else 0.0),
        (4, lambda row: 9.0 if row.arm == "standard" else 0.0),
        (5, lambda row: -9.0 if row.arm == "moved" and row.source == "mlm" else 0.0),
        (6, lambda row: {"a": 9.0, "b": 6.0, "c": 3.0}.get(row.source, 0.0) * (row.arm == "moved")),
        (7, lambda row: 9.0 if (row.arm, row.target) == ("moved-late", "d") else 0.0),
        (8, lambda row: 9.0 if row.kind == "one-shot" else 0.0),
    ],
)
def test_a_claim_is_contradicted_when_its_rows_are_edited(number: int, edit: Edit) -> None:
    assert by_id(edited(plan() + EARLY, edit))[number].status == "contradicted"


def test_noise_leaves_every_claim_undecided() -> None:
    generator = np.random.default_rng(0)
    noisy = edited(plan(), lambda row: float(generator.normal(0, 60)))
    assert {claim.status for claim in decide_claims(noisy)} == {"undecided"}


def test_a_claim_that_the_plan_has_no_rows_for_says_what_is_missing() -> None:
    found = by_id([row for row in plan() if row.kind == "imp" and not row.variant])
    assert found[1].status == "reproduced"
    assert found[3].to_json()["missing"] == ["the plan has no imp with rewind"]
    assert found[8].to_json()["missing"] == [
        "the plan has no one-shot at 70 %",
        "the plan has no transfer of tasks other than mlm and wikipedia-mlm at 70 %",
        "the plan has no transfer of mlm or wikipedia-mlm at 70 %",
    ]
    assert {found[n].status for n in (2, 3, 4, 5, 6, 7, 8)} == {"undecided"}
    assert found[3].to_json()["effect"] is found[3].to_json()["interval"] is None


def test_a_claim_decides_nothing_before_all_its_seeds_are_there() -> None:
    table = [
        replace(row, score=None, state="missing")
        if (row.arm, row.target, row.seed) == ("tickets", "a", 2)
        else row
        for row in plan()
    ]
    found = by_id(table)[1]
    assert found.status == "undecided"
    assert found.to_json()["missing"] == ["imp - dense on a at 70 %: seed 2"]


def test_controls_of_another_finder_are_no_evidence_for_imp() -> None:
    rows = [*search("a", 0.0), *network("snip", "a", 0.0, arm="snipped", source="a")]
    for control in ("random", "reinit", "shuffle"):
        given: dict[str, Any] = {"of": "snipped", "source": "a", "finder": "snip"}
        rows += network(control, "a", -20.0, arm="controls", **given)
    found = by_id(rows)[2]
    assert found.status == "undecided"
    assert found.parts[1].reason == "the plan has no reinit (of imp's tickets) from 40 % to 90 %"


def test_structured_tickets_are_no_evidence_for_those_of_single_weights() -> None:
    found = by_id([replace(row, structure="2:4") for row in plan()])
    assert {found[number].status for number in (1, 2, 3, 4, 5)} == {"undecided"}
    reason = "the plan has no imp (unstructured) from 40 % to 90 %"
    assert found[1].reason == reason


@pytest.mark.parametrize(
    ("terms", "lacking"),
    [
        ({"knobs": ("allocation=erk",)}, "with the finder's default knobs"),
        ({"budget": 3.0}, "without a budget"),
        ({"distill": 0.5}, "without a teacher"),
        ({"budget": 3.0, "distill": 0.5}, "without a budget, without a teacher"),
        ({"distill": 0.5, "distill_temperature": 4.0}, "without a teacher"),
        ({"init": "signs"}, "from the pre-trained weights"),
        ({"name": "imp, learning rate 0.001"}, "at the recipe's learning rate"),
    ],
)
def test_tickets_on_other_terms_are_no_evidence(terms: dict[str, Any], lacking: str) -> None:
    found = by_id([replace(row, **terms) if row.kind == "imp" else row for row in plan()])
    assert {found[number].status for number in (1, 3, 4, 5)} == {"undecided"}
    assert found[1].reason == f"the plan has no imp ({lacking}) from 40 % to 90 %"


def test_tasks_whose_tickets_are_on_other_terms_are_named_and_not_counted() -> None:
    table = [replace(row, distill=0.5) if row.target == "a" else row for row in plan()]
    found = by_id(table)[1]
    assert (found.status, found.parts[0].of) == ("reproduced", 4)
    assert found.to_json()["missing"] == ["imp on a (without a teacher)"]


TEN_PERCENT = tuple(Decimal(number) / 10 for number in range(1, 8))
COARSE = Decimal("0.35"), Decimal("0.7")
IN_ROUNDS = ("imp", "transfer", "reinit", "shuffle")


def in_rounds(table: list[Row], rounds: tuple[Decimal, ...]) -> list[Row]:
    return [replace(row, rounds=rounds) if row.kind in IN_ROUNDS else row for row in table]


def test_of_searches_in_several_rounds_those_of_the_paper_are_evidence() -> None:
    coarse = [row for task in TASKS for row in search(task, -9.0, arm="coarse", rounds=COARSE)]
    table = in_rounds(plan(), TEN_PERCENT) + coarse
    found = decide_claims(table)
    assert {claim.status for claim in found} == {"reproduced"}
    used = {key for claim in found for key in claim.to_json()["runs"]}
    assert not used & {row.key for row in coarse}
    assert not [claim for claim in found if claim.to_json()["missing"]]


def test_a_claim_about_searches_in_other_rounds_says_so() -> None:
    found = by_id(in_rounds(plan(), COARSE))[1]
    assert (found.status, found.reason) == ("reproduced", None)
    note = "imp on mlm, a, b, c, d in rounds of 10 % each (here 35 %, 70 %)"
    assert found.to_json()["missing"] == [note]


def test_searches_in_several_rounds_of_which_none_are_the_paper_s_decide_nothing() -> None:
    once = [row for task in TASKS for row in search(task, 0.0, arm="once", rounds=COARSE[1:])]
    found = by_id(in_rounds(plan(), COARSE) + once)[1]
    assert (found.status, found.parts[0].runs) == ("undecided", ())
    assert (
        found.reason == "imp on mlm, a, b, c, d in rounds of 10 % each (here 35 %, 70 %, and 70 %)"
    )


def test_tickets_of_different_rounds_are_not_compared() -> None:
    apart = [
        replace(row, rounds=COARSE if row.kind == "imp" else TEN_PERCENT)
        if row.kind in IN_ROUNDS
        else row
        for row in plan()
    ]
    assert by_id(in_rounds(plan(), COARSE))[5].parts[0].runs
    assert by_id(apart)[5].parts[0].runs == ()


def test_most_tasks_are_counted_and_not_comparisons() -> None:
    most = ClaimPart(
        says="",
        first=NetworkFilter(kinds=("imp",)),
        minus=NetworkFilter(kinds=("random",)),
        span=SparsityRange(),
        above=True,
        margins=1.0,
        quantifier="most",
    )
    rule = Rule(id=2, claim="", parts=(most,))

    def swept(task: str, change: float, rates: int) -> list[Row]:
        return [
            row
            for rate in range(rates)
            for row in network(
                "random",
                task,
                change,
                name=f"random, learning rate {rate}",
                arm="controls",
                of="tickets",
                source=task,
            )
        ]

    tickets = [row for task in "abc" for row in search(task, 0.0)]
    one = decide_claim(
        rule, tickets + swept("a", -9.0, 5) + swept("b", 0.0, 1) + swept("c", 0.0, 1), 0.05
    )
    assert (one.status, one.parts[0].holds, one.parts[0].of) == ("contradicted", 1, 3)
    two = decide_claim(
        rule, tickets + swept("a", -9.0, 3) + swept("b", -9.0, 3) + swept("c", 0.0, 1), 0.05
    )
    assert (two.status, two.parts[0].holds, two.parts[0].needed) == ("reproduced", 2, 2)
    mixed = swept("a", -9.0, 3) + swept("b", -9.0, 2) + swept("c", 0.0, 1)
    mixed += network(
        "random", "b", 0.0, name="random, fast", arm="controls", of="tickets", source="b"
    )
    three = decide_claim(
        rule, tickets + mixed, 0.05
    )  # on b one rate of three makes up for the ticket
    assert (three.status, three.parts[0].holds) == ("contradicted", 1)


def test_no_claim_is_decided_on_tasks_that_dense_has_not_learned() -> None:
    flat = [replace(row, trivial=79.5) for row in plan() + EARLY]
    found = decide_claims(flat)
    assert {claim.status for claim in found} == {"undecided"}
    for claim in found:
        assert "dense has not learned" in claim.to_json()["missing"][0]
    half = [replace(row, trivial=79.5) if row.target == "a" else row for row in plan()]
    assert by_id(half)[1].status == "undecided"
    failing = edited(half + EARLY, lambda row: -9.0 * (row.arm == "early" and row.target == "b"))
    assert by_id(failing)[1].status == "contradicted"


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("diverged", [False, True])
def test_no_claim_is_decided_where_the_score_of_dense_is_unknown(
    seeds: tuple[int, ...], diverged: bool
) -> None:
    table = [
        replace(row, dense=None, dense_numerics=NUMERICS if diverged else None, difference=None)
        if row.seed in seeds
        else row
        for row in plan()
    ]
    found = decide_claims(table)
    assert {claim.status for claim in found} == {"undecided"}
    message = (
        "diverged: dense, seed 0" if diverged else "seeds 0, 1, 2" if len(seeds) > 1 else "seed 0"
    )
    assert all(any(message in m for m in claim.to_json()["missing"]) for claim in found)


def test_networks_of_two_plans_are_not_compared() -> None:
    apart = [replace(row, plan="other") if row.kind == "imp" else row for row in plan()]
    found = by_id(apart)
    assert {found[number].status for number in (2, 5, 6)} == {"undecided"}
    assert not [part for number in (2, 5, 6) for part in found[number].parts if part.runs]


def test_a_source_of_unknown_size_has_no_place_in_a_trend() -> None:
    gone = [row for row in plan() if row.target != "a"]
    found = by_id(gone)[6]
    assert found.status == "undecided"
    assert "the number of training examples of a" in found.to_json()["missing"]


def test_one_seed_and_one_task_decide_no_claim() -> None:
    one_seed = by_id([row for row in plan() if row.seed == 0])
    assert {claim.status for claim in one_seed.values()} == {"undecided"}
    assert one_seed[1].to_json()["missing"][0] == "imp - dense on mlm at 70 %: a second seed"
    one_task = by_id(search("a", 0.0))[1]
    assert one_task.status == "undecided"
    assert one_task.to_json()["missing"] == ["a second task"]


def test_an_existence_claim_reads_the_lowest_sparsity_of_its_range() -> None:
    def rounds(change: float, lowest: str = "0.4") -> list[Row]:
        return [
            row
            for task in ("a", "b")
            for sparsity, points in (("0.3", -9.0), (lowest, change), ("0.8", -9.0))
            for row in search(task, points, sparsity=Decimal(sparsity))
        ]

    assert by_id(rounds(0.0))[1].status == "reproduced"
    assert by_id(rounds(0.0, "0.6"))[1].status == "reproduced"
    assert by_id(rounds(-5.0))[1].status == "contradicted"
    sparse = by_id(rounds(-5.0, "0.6"))[1]
    assert sparse.status == "undecided"
    message = "imp from 40 % to 45 % on a, b: failing above contradicts nothing"
    assert sparse.to_json()["missing"] == [message]


def test_no_control_loses_for_one_of_its_learning_rates() -> None:
    table = plan() + [
        row
        for task in ("a", "b")
        for row in network(
            "random",
            task,
            -0.5,
            name="random, learning rate 0.001",
            arm="rates",
            of="tickets",
            source=task,
        )
    ]
    assert by_id(table)[2].status == "contradicted"


def test_the_same_runs_under_two_arms_count_once() -> None:
    twice = plan() + [replace(row, arm="again") for row in plan() if row.arm == "tickets"]
    once, both = by_id(plan())[1], by_id(twice)[1]
    assert once.parts[0].of == both.parts[0].of == 5


def test_a_table_with_two_numerics_is_not_to_be_mended_in_a_store() -> None:
    table = [replace(row, numerics={"digest": "a"}, dense_numerics=None) for row in plan()]
    table[1] = replace(table[1], numerics={"digest": "b"})
    with pytest.raises(SpecError, match=r"digest is a in .* and b in .* Write the table again f"):
        decide_claims(table)


def test_numerics_that_differ_are_refused_with_both_runs() -> None:
    table = plan()
    table[1] = replace(table[1], numerics={**NUMERICS, "threads": 8})
    with pytest.raises(SpecError, match=r"threads is 1 in dense on mlm, seed 0 .* and 8 in imp on"):
        decide_claims(table)


@pytest.mark.parametrize("quantifier", QUANTIFIERS)
def test_errors_of_a_rule_are_as_rare_as_its_level(quantifier: str) -> None:
    """At the bound in as many comparisons as make the claim just false, beyond it in the rest."""
    number, runs = 4, 250
    part = ClaimPart(
        says="",
        first=NetworkFilter(kinds=("imp",)),
        minus=NetworkFilter(kinds=("dense",)),
        span=SparsityRange(),
        above=True,
        margins=-1.0,
        quantifier=quantifier,
    )
    needed = QUANTIFIERS[quantifier](number)
    just_false = [19.0] * (needed - 1) + [-1.0] * (number - needed + 1)
    just_true = [-1.0] * needed + [-21.0] * (number - needed)
    generator = np.random.default_rng(1)
    for changes, wrong in ((just_false, "reproduced"), (just_true, "contradicted")):
        errors = 0
        for _ in range(runs):
            table = [
                row
                for task, change in enumerate(changes)
                for row in search(f"t{task}", change, wobble=list(generator.normal(0, 0.5, 3)))
            ]
            errors += decide_claim(Rule(id=0, claim="", parts=(part,)), table, 0.05).status == wrong
        assert errors / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_every_claim_of_the_paper_has_a_rule() -> None:
    rules = read_rules()
    assert [rule.id for rule in rules.rules] == list(range(1, 9))
    assert rules.error == 0.05
    for rule in rules.rules:
        assert bool(rule.parts) != bool(rule.trend)
        assert {part.quantifier for part in rule.parts} <= QUANTIFIERS.keys()


def test_rules_name_no_arm_of_a_plan() -> None:
    text = (Path(__file__).parents[3] / "src/tombola/catalog/claims/chen-2020.yaml").read_text()
    assert "arm" not in text


@pytest.mark.parametrize("rising", [1, -1])
def test_targets_of_unequal_difficulty_are_no_trend_of_their_sources(rising: int) -> None:
    """Each source is spared another target, the one of its own size."""
    hard = {task: rising * 4.0 * place for place, task in enumerate(TASKS)}
    generator = np.random.default_rng(0)
    table = edited(plan(), lambda row: hard[row.target] * (row.kind == "transfer"))
    flat = [
        replace(row, score=row.dense + hard[row.target] + float(generator.normal(0, 0.3)))
        if row.kind == "transfer" and row.dense is not None
        else row
        for row in table
    ]
    assert by_id(flat)[6].status == "undecided"
    assert by_id(table)[6].status == "reproduced"


def test_a_trend_takes_the_seeds_that_all_its_sources_have() -> None:
    fewer = [row for row in plan() if (row.arm, row.target, row.seed) != ("tickets", "a", 2)]
    assert by_id(fewer)[6].status == "reproduced"
    one = [row for row in plan() if (row.arm, row.target) != ("tickets", "a") or row.seed == 2]
    assert "two seeds that all sources have" in by_id(one)[6].to_json()["missing"][-1]


def test_one_task_contradicts_nothing_but_every() -> None:
    table = edited(plan(), lambda row: -9.0 if row.kind == "transfer" else 0.0)
    one = by_id([row for row in table if row.target == "a"])
    assert {number: one[number].status for number in (5, 8)} == {5: "undecided", 8: "undecided"}
    assert by_id(table)[5].status == "contradicted"


def test_a_contradiction_shows_the_comparison_that_decides() -> None:
    table = [
        *search("a", -9.0, sparsity=Decimal("0.4")),
        *search("b", None, sparsity=Decimal("0.4")),
        *search("c", -30.0, sparsity=Decimal("0.7")),
    ]
    found = by_id(table)[1]
    assert found.status == "contradicted"
    record = found.to_json()
    assert found.deciding.about == "imp - dense on a at 40 %"
    assert record["effect"] == pytest.approx(-9.0)
    assert record["interval"][1] < -1.0
