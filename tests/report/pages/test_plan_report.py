"""A report of plans: several together, gaps marked, small however many runs there are."""

import resource
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import plan_rows
from command_line import Cli
from report_scripts import without_own_scripts
from tombola.base.errors import SpecError
from tombola.report.pages.page import Number, Page, render
from tombola.report.pages.plans.plan_page import plan_page
from tombola.study.report_facts.plan_facts import PlanRuns, plan_facts
from tombola.study.table.export import export
from tombola.study.table.row import Row

PILOT = Path(__file__).parents[3] / "docs" / "results" / "pilot.csv"


def source(rows: list[Row], plan: str) -> PlanRuns:
    return PlanRuns(rows=[replace(row, plan=plan) for row in rows], about={"name": f"{plan}.csv"})


def page_of(*sources: PlanRuns) -> Page:
    return plan_page(plan_facts(sources))


def test_several_plans_are_judged_each_by_itself() -> None:
    one = source(plan_rows.search("a", 0.0), "one")
    other = source(plan_rows.search("a", -9.0), "other")
    facts = plan_facts([one, other])
    assert [each["verdict"]["status"] for each in facts["groups"]] == ["matching", "not matching"]
    networks = {run[0] for run in facts["runs"]["rows"]}
    assert networks == {"one", "other"}
    page = plan_page(facts)
    assert page.title == "Plans one, other"
    _, said, contrary = map(str, page.answers)
    assert said == "one: tickets on a: highest winning sparsity 70 %."
    assert contrary.startswith("other: tickets on a: no winning ticket shown")


def test_two_sources_with_one_plan_are_refused() -> None:
    rows = plan_rows.search("a", 0.0)
    with pytest.raises(SpecError, match="expected plans with different names, got 'x'"):
        page_of(source(rows, "x"), source(rows, "x"))


def test_gaps_of_an_unfinished_plan_are_marked() -> None:
    rows = [*plan_rows.search("a", 0.0), *plan_rows.search("b", None)]
    facts = plan_facts([source(rows, "x")])
    page = plan_page(facts)
    assert "3 of 6 runs are not done: dashes mark the gaps." in page.notes
    html = without_own_scripts(render(page))
    assert "0 of 3 seeds are done" in html
    states = [run[facts["runs"]["columns"].index("state")] for run in facts["runs"]["rows"]]
    assert states.count("missing") == 3


def test_a_page_without_charts_has_no_script_that_draws_them() -> None:
    html = render(page_of(source(plan_rows.search("a", None, dense=(None,) * 3), "x")))
    assert "const report =" in html
    assert "data.explorer" not in html


def test_a_number_has_the_runs_that_it_is_made_from() -> None:
    page = page_of(source(plan_rows.search("a", 0.0), "x"))
    (table,) = next(each for each in page.sections if each.heading == "Networks").tables
    *_, seeds, score, change = table.rows[0]
    assert isinstance(seeds, Number)
    assert isinstance(score, Number)
    assert isinstance(change, Number)
    keys = [page.runs["rows"][place][-1] for place in change.runs]
    assert keys[:3] == [f"tickets.imp.a.0.7.a.{seed}" for seed in range(3)]
    assert keys[3:] == [f"dense.a.{seed}" for seed in range(3)]
    assert list(score.runs) == list(change.runs)[:3]


def test_runs_with_other_numerics_are_shown_and_not_judged() -> None:
    rows = plan_rows.search("a", 0.0)
    rows[0] = replace(rows[0], numerics={"threads": 2, "torch": "2.13.0"})
    page = page_of(source(rows, "x"))
    (note,) = page.notes
    assert note.startswith("Plan x is not judged: ")
    assert page.answers == []


def test_a_value_that_makes_no_sense_is_not_taken_for_other_numerics() -> None:
    with pytest.raises(SpecError, match="margin must be 0 or more points"):
        page_of(source(plan_rows.search("a", 0.0, margin=-1.0), "x"))


def test_a_report_of_ten_thousand_runs_stays_below_five_megabytes() -> None:
    """A tenth of them, and what is the same for any number counted once."""

    def size(tasks: int) -> int:
        rows = []
        for place in range(tasks):
            for name in ("random", "reinit", "shuffle"):
                arm, task = f"controls-{name}", f"task-{place}"
                rows += plan_rows.network(
                    name, task, -0.123456789012, arm=arm, of="tickets", source=task
                )
        key = "{:064d}".format
        rows = [replace(row, key=key(number)) for number, row in enumerate(rows)]
        return len(render(page_of(source(rows, "x"))))

    small, large = size(1), size(100)
    assert small + (large - small) * 10_000 / (99 * 9) < 5e6


def test_a_committed_table_makes_a_report_and_figures(cli: Cli) -> None:
    status, shown, errors = cli("report", PILOT, "--figures", "figures")
    assert (status, errors) == (0, "")
    written = shown.split()
    assert written[0] == "report.html"
    assert all(Path(name).stat().st_size > 1000 for name in written)
    html = without_own_scripts(Path("report.html").read_text(encoding="utf-8"))
    for heading in ("Networks", "Verdicts", "Leaderboard", "Transfer", "Claims of the paper"):
        assert f">{heading}</h2>" in html


def test_a_search_among_plans_is_refused_in_one_line(cli: Cli, tmp_path: Path) -> None:
    status, _, error = cli("report", PILOT, tmp_path)
    assert (status, error.count("\n")) == (2, 1)
    assert "expected one search or any number of plans" in error


@pytest.mark.slow
def test_ten_thousand_runs_take_little_time_memory_and_space(
    tmp_path: Path,
) -> None:
    rows = [
        replace(row, finder="imp", source=row.target)
        for task in range(120)
        for share in range(1, 10)
        for name in ("imp", "random", "reinit")
        for row in plan_rows.network(
            name,
            f"task-{task}",
            -0.1 * share,
            arm="tickets" if name == "imp" else "controls",
            of="" if name == "imp" else "tickets",
            sparsity=Decimal(share) / 10,
        )
    ][:10_000]
    rows = [replace(row, plan="large", plan_rows=len(rows), trivial=50.0) for row in rows]
    table = tmp_path / "large.csv"
    table.write_bytes(export(rows, "csv"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (40, 40))  # twice, for a machine that is busy

    place = tmp_path / "large.html"
    command = [sys.executable, "-m", "tombola", "report", str(table), "--output", str(place)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2e6  # KiB
    assert place.stat().st_size < 5e6
