"""The lists of what is built in."""

import pytest

from tombola.cli.main import main
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.plan_file import plan_names, read_plan


def test_finders_are_listed_with_their_sources_and_what_a_search_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["finders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    costs = {name: cost for name, cost, *_ in map(str.split, lines[1:-1:2])}
    assert list(costs) == [*FINDERS]
    assert {costs[name] for name in ("one-shot", "snip", "wanda", "obs", "structured")} == {"1"}
    assert (costs["imp"], costs["gradual"]) == ("8", "2")  # seven rounds of IMP, and dense
    assert costs["task-agnostic"] == "2.33"  # a third of a step for the pass of its teacher
    assert [line.strip() for line in lines[2:-1:2]] == [FINDERS[name].source for name in FINDERS]


def test_plans_are_listed_with_their_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plans"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1:2]] == plan_names()
    assert [line.strip() for line in lines[2:-1:2]] == [read_plan(n).about for n in plan_names()]
