"""A margin that no task names is a share of what dense gains, or one point."""

from dataclasses import replace

from tombola.study.table.margins import RULE, Margin, margin_of, margin_rule
from tombola.tasks.task import load_task


def test_margin_is_a_point_or_a_twentieth_of_the_gain() -> None:
    assert margin_rule(80, 70) == 1.0
    assert margin_rule(90, 50) == 2.0
    assert margin_rule(50, 60) == 1.0
    assert margin_rule(90, 50, point=0.5, share=0.01) == 0.5


def test_a_margin_of_one_point_says_why() -> None:
    task = replace(load_task("sentiment"), by_rule=True, margin=1.0)
    there, gone = margin_of(task, None, tried=True), margin_of(task, None)
    assert (there.points, gone.points) == (1.0, 1.0)
    assert "dense diverged" in there.notes[0]
    assert "there is no dev split" in gone.notes[0]


def test_a_margin_by_the_rule_shows_its_numbers() -> None:
    margin = Margin(points=1.0, origin=RULE, dense=30.0, trivial=70.0, seed=0)
    assert margin.notes == [
        "the margin is 1.00 points: the larger of 1 and 5 % of dense's gain on dev (dense 30.00, "
        "best constant answer 70.00, seed 0)."
    ]
