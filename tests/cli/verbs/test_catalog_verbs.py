"""The lists of what is built in."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import Cli, refusal
from tombola.cli.main import main
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.plan_file import plan_names, read_plan


def test_finders_are_listed_with_their_sources_and_what_a_search_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["finders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [re.split(" {2,}", line) for line in (lines[0], *lines[1:-1:2])]
    costs = {name: cost for name, cost, *_ in cells[1:]}
    assert list(costs) == [*FINDERS]
    assert {costs[name] for name in ("one-shot", "snip", "wanda", "obs", "structured")} == {"1"}
    assert (costs["imp"], costs["gradual"]) == ("8", "2")  # seven rounds of IMP, and dense
    assert costs["task-agnostic"] == "2.33"  # a third of a step for the pass of its teacher
    assert [line.strip() for line in lines[2:-1:2]] == [FINDERS[name].source for name in FINDERS]
    assert cells[0] == ["finder", "trainings", "reads for scores", "what it does"]
    reads = {name: more[0] for name, _, *more, about in cells[1:] if more}
    assert reads == {
        "grasp": "1 batch, 2 times",
        "obs": "1,024 examples, 4 times",
        "snip": "1 batch",
        "sparsegpt": "4 batches for each block",
        "structured": "1,024 examples",
        "wanda": "4 batches",
    }


def test_plans_are_listed_with_their_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plans"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1:2]] == plan_names()
    assert [line.strip() for line in lines[2:-1:2]] == [read_plan(n).about for n in plan_names()]


@pytest.mark.parametrize("name", plan_names())
def test_a_printed_plan_is_the_same_plan(name: str, cli: Cli, tmp_path: Path) -> None:
    status, shown, errors = cli("plans", name)
    assert (status, errors) == (0, "")
    copy = tmp_path / "mine.yaml"
    copy.write_text(shown)
    catalog = read_plan(name)
    assert replace(read_plan(copy), where=catalog.where, folder=catalog.folder) == catalog


def test_only_a_built_in_plan_is_printed(cli: Cli) -> None:
    assert refusal(cli("plans", "tabel2")) == "there is no plan 'tabel2'. Did you mean 'table2'?"
    assert refusal(cli("plans", "../plans/table2")).startswith("there is no plan '../plans/table2'")
