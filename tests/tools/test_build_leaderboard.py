"""The plans of the leaderboard are what its tool writes, and its page shows what the rows say."""

import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plan_rows import network, search
from stand_in_subject import subject
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.plan.subject import Subject
from tombola.study.table.reading import read_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "build_leaderboard.py"))


def test_the_plans_are_what_the_tool_writes(tool: dict[str, Any]) -> None:
    rates = tool["chosen_rates"](read_rows(tool["RATES"])) if tool["RATES"].is_file() else {}
    written = {"leaderboard-rates": tool["rates_plan"](), "leaderboard": tool["board_plan"](rates)}
    for name, text in written.items():
        kept = (tool["PLANS"] / f"{name}.yaml").read_text(encoding="utf-8")
        assert kept == text, "run `python tools/build_leaderboard.py`"


def test_the_page_is_what_the_tool_writes_once_there_are_rows(tool: dict[str, Any]) -> None:
    assert tool["PAGE"].is_file() == tool["ROWS"].is_file()
    if tool["ROWS"].is_file():
        kept = tool["PAGE"].read_text(encoding="utf-8")
        assert kept == tool["page"](read_rows(tool["ROWS"])), "run `tools/build_leaderboard.py`"


def test_the_sizes_are_those_that_were_written_down(tool: dict[str, Any]) -> None:
    def counted(task: Any, recipe: Any) -> Subject:
        return replace(subject(task, recipe), examples=tool["TASKS"][task.name])

    text = (ROOT / "evidence" / "leaderboard.md").read_text(encoding="utf-8")
    for name in ("leaderboard-rates", "leaderboard"):
        plan = expand(read_plan(name), counted)
        trainings = Counter(job.kind for job in plan.jobs)["train"]
        steps = sum(job.steps for job in plan.jobs)
        sizes = f"{len(plan.cells):,} | {len(plan.jobs):,} | {trainings:,} | {steps:,}"
        assert f"| `{name}` | {sizes} |" in text


def test_every_board_of_the_plan_has_every_finder_once(tool: dict[str, Any]) -> None:
    cells = [c for c in expand(read_plan("leaderboard"), subject).cells if c.sparsity]
    boards = Counter((c.target, c.sparsity, c.budget, c.seed) for c in cells)
    assert len(boards) == 2 * 3 * 5
    whole = {count for (_, _, budget, _), count in boards.items() if budget == 8}
    rest = {count for (_, _, budget, _), count in boards.items() if budget != 8}
    assert (rest, whole) == ({len(tool["FINDERS"])}, {2})


def test_a_rate_is_chosen_on_dev_and_put_into_the_arms_of_its_tasks(tool: dict[str, Any]) -> None:
    swept = [
        replace(row, learning_rate=rate, split="dev", score=score)
        for task, scores in (("sentiment", (1.0, 2.0, 2.0)), ("supersense", (3.0, 2.0, 1.0)))
        for rate, score in zip((1e-4, 3e-4, 1e-3), scores, strict=True)
        for row in network("snip", task, 0.0, source=task)[:1]
    ]
    chosen = tool["chosen_rates"](swept)
    assert chosen == {("snip", "sentiment"): 3e-4, ("snip", "supersense"): 1e-4}
    lines = [line for line in tool["board_plan"](chosen).splitlines() if "  snip-3" in line]
    assert [line.partition(":")[0].strip() for line in lines] == ["snip-3-slow", "snip-3"]
    assert "tasks: [sentiment]" in lines[1]
    assert lines[0].endswith("tasks: [supersense], learning_rates: [1.0e-4]}")


def test_the_page_names_no_winner_that_the_tests_do_not_show(tool: dict[str, Any]) -> None:
    rows = search("a", -0.1, arm="imp-3") + network("one-shot", "a", -4.0, arm="one-shot-3")
    page = tool["page"](rows)
    assert "## a at 70 %\n" in page
    assert "better than one-shot pruning, the only other finder at this budget" in page
    assert f"| `one-shot` | {rows[-1].learning_rate:g} | 76.3 (" in page
    third = network("snip", "a", -6.0, arm="snip-3", source="a")
    assert "`imp` is shown to be better than every other." in tool["page"](rows + third)
    close = network("snip", "a", -0.1, arm="snip-3", source="a", wobble=(0.4, 0.0, -0.5))
    both = "`imp` and `snip` are shown to be better than all others, but not than each other."
    assert both in tool["page"](rows + close)
    near = network("one-shot", "a", -0.2, arm="one-shot-3", wobble=(0.4, 0.0, -0.5))
    assert "No finder is shown to be better" in tool["page"](search("a", -0.1, arm="imp-3") + near)
