"""A claim about several plans follows from the rows of each, and from none of them mixed."""

from dataclasses import replace

import pytest

from decided_claims import by_id, edited
from plan_rows import NUMERICS, SIZES, TASKS, plan, search
from tombola.base.errors import SpecError
from tombola.study.claims.claims import decide_claims
from tombola.study.table.row import Row


def as_plan(name: str, table: list[Row]) -> list[Row]:
    return [replace(row, plan=name, key=f"{name}.{row.key}") for row in table]


def test_on_a_task_of_two_plans_a_claim_must_hold_in_both() -> None:
    kept = as_plan("kept", plan())
    assert by_id(kept + as_plan("again", plan()))[2].status == "reproduced"
    weak = edited(plan(), lambda row: 25.0 if (row.name, row.target) == ("random", "a") else 0.0)
    found = by_id(kept + as_plan("weak", weak))[2]
    assert found.status == "contradicted"
    assert found.deciding.about.endswith("on a at 70 %, plan weak")


def test_numerics_may_differ_between_plans_only() -> None:
    other = replaced_numerics(plan(), precision="bf16")
    assert by_id(as_plan("one", plan()) + as_plan("other", other))[2].status == "reproduced"
    half = [a if a.seed else b for a, b in zip(plan(), other, strict=True)]
    with pytest.raises(SpecError, match="precision"):
        decide_claims(as_plan("one", plan()) + as_plan("half", half))


def test_the_same_runs_are_judged_by_the_margin_of_each_plan() -> None:
    strict = as_plan("strict", edited(plan(), lambda row: -1.2 if row.kind == "imp" else 0.0))
    same = [replace(row, plan="lax", margin=9.0) for row in strict]
    alone, both, back = (by_id(rows)[1] for rows in (strict, strict + same, same + strict))
    assert by_id(same)[1].status == "reproduced"
    assert alone.status == both.status == back.status
    assert alone.status != "reproduced"


def test_a_plan_that_lacks_a_run_does_not_hide_it() -> None:
    there = as_plan("there", plan())
    lacking = [
        replace(row, plan="lacking", state="missing", score=None, numerics=None, margin=None)
        for row in there
    ]
    for table in (there + lacking, lacking + there):
        assert {claim.status for claim in decide_claims(table)} == {"reproduced"}


def test_each_plan_must_show_a_trend_that_its_sources_have() -> None:
    """The first rises steeply, the second falls a little: together no rise."""
    steep = as_plan("steep", plan())
    gentle = [
        replace(row, score=(row.dense or 0) - 10 - SIZES[row.source] / 1e5)
        if row.kind == "transfer" and row.moved and row.arm == "moved"
        else row
        for row in plan()
    ]
    falling = as_plan("falling", gentle)
    assert by_id(steep)[6].status == "reproduced"
    assert by_id(falling)[6].status == "contradicted"
    together = by_id(steep + falling)[6]
    assert together.status == "undecided"
    assert together.deciding.about.endswith("sources, plan falling")
    assert by_id(steep + as_plan("again", plan()))[6].status == "reproduced"


def test_a_gain_on_some_task_is_one_in_every_plan_that_has_the_task() -> None:
    def changed(points: float) -> list[Row]:
        flat = [row for row in plan() if row.arm != "standard"]
        return flat + [
            row
            for task in TASKS
            for row in search(
                task, points if task == "a" else 0.0, arm="standard", variant=("no-rewind",)
            )
        ]

    up, down = as_plan("up", changed(3.0)), as_plan("down", changed(-3.0))
    assert by_id(up)[4].parts[0].status == by_id(down)[4].parts[1].status == "reproduced"
    together = by_id(up + down)[4]
    assert {part.status for part in together.parts} == {"undecided"}


def replaced_numerics(table: list[Row], **changes: str) -> list[Row]:
    return [
        replace(row, numerics={**NUMERICS, **changes}, dense_numerics={**NUMERICS, **changes})
        for row in table
    ]
