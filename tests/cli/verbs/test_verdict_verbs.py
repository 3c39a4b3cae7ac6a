"""The verbs of a study read a store and run nothing; every mistake is one line and status 2."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from command_line import Cli, refusal
from plan_rows import NUMERICS
from tombola.cli.arguments import plan_of
from tombola.cli.main import main
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.plan import Plan

PLAN = """
version: 1
model: {model}
tasks: [sentiment, valence]
seeds: [0, 1, 2]
arms:
  tickets: {{kind: imp, sparsity: 0.7, step: 0.35}}
  controls: {{kind: control, of: tickets, names: [random, one-shot]}}
  moved: {{kind: transfer, of: tickets}}
"""
VERBS = ("matching", "leaderboard", "transfer", "claims", "table")


@pytest.fixture
def plan(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(PLAN.format(model=tiny), encoding="utf-8")
    found, known = plan_of(Namespace(plan="mine.yaml", data=None, store="store"))
    Store("store")
    known.save()
    return found


def finish(plan: Plan, *, seeds: tuple[int, ...] = (0, 1, 2), **numerics: Any) -> None:
    """Keep the trainings of some seeds as if they had been done."""
    store = Store("store")
    for cell in plan.cells:
        if cell.seed in seeds:
            change = {"dense": 0.0, "random": -20.0}.get(cell.what, -0.2)
            for job, score in ((cell.baseline, 80.0), (cell.training, 80.0 + change)):
                facts = {"score": score + cell.seed / 10, "trivial": 50.0, "resolution": 0.05}
                done = Result(
                    **job.named(),
                    facts=facts,
                    numerics={**NUMERICS, **numerics},
                    seconds=1.0,
                    peak_memory=1,
                )
                store.save(done, {})


@pytest.fixture
def cli(plan: Plan, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(
        verb: str, *flags: str, name: str | tuple[str, ...] = "mine.yaml"
    ) -> tuple[int, str, str]:
        capsys.readouterr()
        names = [name] if isinstance(name, str) else name
        status = main([verb, *names, "--store", "store", *flags])
        return (status, *capsys.readouterr())

    return run


def test_verdicts_are_shown_and_written(plan: Plan, cli: Cli) -> None:
    finish(plan)
    status, shown, errors = cli("matching", "--json", "m.json")
    assert (status, errors) == (0, "")
    assert "tickets on sentiment: highest winning sparsity 70 %" in shown
    assert "tickets, imp at 70 %: matching on every one of 2 tasks" in shown
    assert "unfinished" not in shown
    found = json.loads(Path("m.json").read_text())
    assert [each["verdict"]["status"] for each in found["networks"][:2]] == ["matching"] * 2
    assert {row["key"] for row in Store("store").rows()} >= set(found["networks"][0]["runs"])


def test_a_network_has_one_line_in_a_pipe(
    plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(plan)
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = cli("matching")[1].splitlines()
    names = [*["tickets"] * 4, *["controls: random", "controls: one-shot"] * 2, *["moved"] * 4]
    assert [line[: lines[0].index("task")].strip() for line in lines[1:13]] == names
    monkeypatch.setenv("COLUMNS", "72")
    table = cli("matching")[1].split("sd: within")[0]
    assert max(map(len, table.splitlines())) <= 72


def test_the_leaderboard_is_shown_written_and_drawn(plan: Plan, cli: Cli) -> None:
    finish(plan)
    status, shown, errors = cli("leaderboard", "--json", "l.json")
    assert (status, errors) == (0, "")
    assert "sentiment at 70 %: accuracy" in shown
    assert "one arm: nothing to rank." in shown
    boards = json.loads(Path("l.json").read_text())["boards"]
    places = [(board["task"], board["sparsity"]) for board in boards]
    assert places == [(t, s) for t in ("sentiment", "valence") for s in ("0.35", "0.7")]
    assert boards[0]["entries"][0]["verdict"]["status"] == "matching"
    assert "no run has both" in refusal(cli("leaderboard", "--output", "pictures"))
    above = Path("mine.yaml").read_text().partition("arms:")[0]
    Path("none.yaml").write_text(f"{above}arms: {{dense: {{kind: dense}}}}")
    assert "a plan with a finder's arm" in refusal(cli("leaderboard", name="none.yaml"))


def test_the_matrix_is_shown_and_written(plan: Plan, cli: Cli) -> None:
    finish(plan)
    status, shown, _ = cli("transfer", "--json", "t.json")
    assert status == 0
    assert "score minus the target's own ticket" in shown
    [matrix] = json.loads(Path("t.json").read_text())
    assert [each["source"] for each in matrix["sources"]] == ["sentiment", "valence"]


def test_eight_claims_are_shown_and_written(plan: Plan, cli: Cli) -> None:
    finish(plan)
    status, shown, _ = cli("claims", "--json", "c.json")
    assert status == 0
    found = json.loads(Path("c.json").read_text())
    assert [claim["id"] for claim in found] == list(range(1, 9))
    assert found[0]["status"] == "reproduced"
    assert found[0]["effect"] == pytest.approx(-0.2)
    assert "missing: the plan has no imp with rewind" in shown
    for claim in found:
        assert {"id", "claim", "status", "effect", "interval", "runs"} <= claim.keys()


def test_claims_are_decided_from_several_tables_together_and_alone(
    plan: Plan, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(plan)
    cli("table", "--output", "mine.csv")
    text = Path("mine.csv").read_text(encoding="utf-8")
    Path("again.csv").write_text(text.replace("\nmine,", "\nagain,"), encoding="utf-8")
    capsys.readouterr()
    assert main(["claims", "mine.csv", "again.csv", "--json", "c.json"]) == 0
    shown, errors = capsys.readouterr()
    assert errors == ""
    first = json.loads(Path("c.json").read_text())[0]
    assert first["plans"] == {"mine": "reproduced", "again": "reproduced"}
    [line] = [line.split() for line in shown.splitlines() if line.startswith("again ")]
    assert line[:2] == ["again", "reproduced"]
    status = main(["claims", "mine.yaml", "mine.csv", "--store", "store"])
    error = refusal((status, *capsys.readouterr()))
    assert "each plan once, got 'mine' in 'mine.yaml' and in 'mine.csv'. Rename one, or" in error
    assert error.endswith("join them with `tombola table PLAN --fill FILE`.")
    again = Path("again.csv").read_text(encoding="utf-8")
    Path("again.csv").write_text(again.replace(",80.0,", ",81.0,"), encoding="utf-8")
    error = refusal(cli("claims", name=("mine.csv", "again.csv")))
    assert "for the same numerics, got 80.0 in 'mine.csv' and 81.0 in 'again.csv'." in error


@pytest.mark.parametrize("verb", ["matching", "leaderboard", "transfer"])
def test_a_table_of_several_plans_says_which_one_a_line_is_about(
    verb: str, plan: Plan, cli: Cli
) -> None:
    finish(plan, seeds=(0, 1))
    cli("table", "--output", "mine.csv")
    mine = Path("mine.csv").read_text(encoding="utf-8")
    again = mine.replace("\nmine,", "\nagain,").partition("\n")[2]
    Path("both.csv").write_text(mine + again, encoding="utf-8")
    alone = cli(verb, name="mine.csv")[1]
    shown = cli(verb, "--json", "v.json", name="both.csv")[1].splitlines()
    assert "plan " not in alone
    assert [line for line in shown if line.startswith("plan ")] == ["plan mine", "plan again"][
        :: -1 if verb == "leaderboard" else 1
    ]
    third = len(plan.cells) // 3
    gaps = [
        f"unfinished: plan {name}: {third} of {3 * third} runs are missing."
        for name in ("mine", "again")
    ]
    assert [line for line in shown if line.startswith("unfinished:")] == gaps
    found = json.loads(Path("v.json").read_text())
    lists = [found] if verb == "transfer" else [x for x in found.values() if isinstance(x, list)]
    assert lists
    for entries in lists:
        assert {entry["plan"] for entry in entries} == {"mine", "again"}
    Path("again.csv").write_text(f"{mine.partition(chr(10))[0]}\n{again}", encoding="utf-8")
    assert cli("claims", name=("mine.csv", "again.csv"))[1].splitlines()[-2:] == gaps


def test_the_table_is_printed_or_written_as_its_name_ends(plan: Plan, cli: Cli) -> None:
    finish(plan)
    status, shown, _ = cli("table")
    assert status == 0
    assert len(shown.splitlines()) == 1 + len(plan.cells)
    cli("table", "--output", "rows.parquet", "--json", "rows.json")
    assert pq.read_table("rows.parquet").to_pylist() == json.loads(Path("rows.json").read_text())
    assert cli("table", "--format", "markdown", "--together")[1].startswith("| arm  ")


def test_a_table_says_what_the_plan_said_without_its_store(plan: Plan, cli: Cli) -> None:
    finish(plan)
    cli("table", "--output", "rows.csv")
    said = {verb: cli(verb, "--json", f"{verb}.json") for verb in VERBS}
    Path("store").rename("elsewhere")
    for verb in VERBS:
        assert cli(verb, "--json", "again.json", name="rows.csv") == said[verb]
        assert Path("again.json").read_text() == Path(f"{verb}.json").read_text()
    assert "got no such file" in refusal(cli("claims", name="gone.csv"))


def test_a_table_fills_the_gaps_of_a_store(plan: Plan, cli: Cli) -> None:
    finish(plan, seeds=(0, 1))
    cli("table", "--output", "rows.csv")
    assert "runs are missing.\n" in cli("matching", name="rows.csv")[1]
    Path("store").rename("elsewhere")
    Store("store")
    finish(plan, seeds=(2,))
    assert cli("table")[1].count(",missing,") == 2 * len(plan.cells) // 3
    assert ",missing," not in cli("table", "--fill", "rows.csv")[1]


def test_an_unfinished_plan_says_what_is_there_and_what_is_not(plan: Plan, cli: Cli) -> None:
    finish(plan, seeds=(0, 1))
    for verb in VERBS[:-1]:
        status, shown, _ = cli(verb)
        assert status == 0
        third = len(plan.cells) // 3
        assert f"unfinished: {third} of {3 * third} runs are missing" in shown
    assert ",missing," in cli("table")[1]
    assert "2/3" in cli("matching")[1]
    assert "2 of 3 seeds" in cli("transfer")[1]
    assert "missing: imp - dense on sentiment at 70 %: seed 2" in cli("claims")[1]


@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_store_and_one_that_is_not_there_are_refused(
    verb: str, plan: Plan, cli: Cli
) -> None:
    assert f"got none of {len(plan.cells)}" in refusal(cli(verb))
    assert "expected a store at 'gone', got nothing" in refusal(cli(verb, "--store", "gone"))
    assert not Path("gone").exists()


@pytest.mark.parametrize("verb", VERBS[:-1])
def test_mixed_numerics_are_refused_with_both_runs(verb: str, plan: Plan, cli: Cli) -> None:
    finish(plan, seeds=(0, 1))
    finish(plan, seeds=(2,), threads=8)
    assert "threads is 1 in dense on sentiment, seed 0" in refusal(cli(verb))


def test_wrong_plans_and_flags_are_refused(plan: Plan, cli: Cli) -> None:
    finish(plan)
    assert "Did you mean 'figure2'" in refusal(cli("claims", name="figur2"))
    assert "Did you mean '--json'" in refusal(cli("matching", "--jsn", "x"))
    assert "no format of a table 'xls'" in refusal(cli("table", "--format", "xls"))
    assert "Pass --output" in refusal(cli("table", "--format", "parquet"))
    cli("table", "--output", "rows.csv")
    said = refusal(cli("matching", "--data", "x", name="rows.csv"))
    assert said.startswith("expected no --data with a table of runs, got 'x'. Leave it out")
    assert "expected one PLAN with --data, got 2." in refusal(
        cli("claims", "--data", "x", name=("mine.yaml", "rows.csv"))
    )
    for subjects, said in (
        (("rows.csv",), "expected no --data with a table of runs, got 'x'."),
        (("mine.yaml", "rows.csv"), "expected one PLAN with --data, got 2."),
        ((".",), "expected no --data with the folder of a search, got 'x'."),
    ):
        assert refusal(cli("report", "--data", "x", name=subjects)).startswith(said)
    text = Path("mine.yaml").read_text().replace("  moved: {kind: transfer, of: tickets}\n", "")
    Path("still.yaml").write_text(text)
    assert "an arm of kind transfer" in refusal(cli("transfer", name="still.yaml"))
