"""Nothing is decided as long as the margin isn't known, and everything else is shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from plan_rows import plan, search
from tombola.cli.show.screen import screen
from tombola.cli.show.verdicts import (
    show_claims,
    show_leaderboard,
    show_matching,
    show_transfer,
    show_unfinished,
)
from tombola.report.figures.paper import save_figures
from tombola.report.pages.plans.plan_page import plan_page
from tombola.study.claims.claims import decide_claims
from tombola.study.leaderboard.board import leaderboard
from tombola.study.report_facts.row_facts import row_facts
from tombola.study.table.export import export
from tombola.study.table.reading import filled, read_rows
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import MARGIN_UNKNOWN
from tombola.study.verdicts.matching import matching
from tombola.study.verdicts.transfer import transfer_matrices


def unknown(table: list[Row]) -> list[Row]:
    return [replace(row, margin=None, plan="p", plan_rows=len(table)) for row in table]


def test_no_network_matches_or_fails_to() -> None:
    for change in (0.0, -20.0):
        found = matching(unknown(search("a", change) + search("b", change)))
        assert {(each.verdict, each.reason) for each in found.judged} == {(None, MARGIN_UNKNOWN)}
        assert {each.p_value for each in found.judged} == {1.0}
        assert [sparsity for _, sparsity in found.highest] == [None, None]
        (family,) = found.families
        assert (family.answer.status, family.answer.reason) == ("undecided", MARGIN_UNKNOWN)
        assert family.answer.unfinished == ("a", "b")


def test_one_run_gets_no_verdict() -> None:
    row = replace(search("a", 0.0)[0], margin=None)

    def judge(row: Row) -> None:
        raise AssertionError

    (judged,) = matching([row], judge).judged  # type: ignore[arg-type]
    assert judged.reason == MARGIN_UNKNOWN


def test_no_rank_transfer_or_claim_is_shown() -> None:
    table = unknown(plan())
    for board in leaderboard(table).boards:
        assert not board.ranking.shown
    for matrix in transfer_matrices(table):
        assert not any(row.shown_at_least_same_task for row in matrix.sources)
        assert {row.universality.status for row in matrix.sources} == {"undecided"}
        (reason,) = {place.minus_dense.reason for row in matrix.sources for place in row.places}
        assert reason == MARGIN_UNKNOWN
    assert {claim.status for claim in decide_claims(table)} == {"undecided"}


def test_tables_say_that_it_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    table, console = unknown(plan()), screen()
    show_matching(matching(table), console)
    show_leaderboard(leaderboard(table), console)
    show_transfer(transfer_matrices(table), console)
    show_claims(decide_claims(table), console)
    show_unfinished(table, console, command="tombola run p.yaml")
    shown = " ".join(capsys.readouterr().out.split())
    assert MARGIN_UNKNOWN in shown
    assert "no winning ticket shown" not in shown
    assert "unfinished: the margin isn't known yet on mlm, a, b, c, d" in shown
    assert "`tombola run p.yaml` continues." in shown


def test_a_report_says_so_and_draws_dense_without_it(tmp_path: Path) -> None:
    facts = row_facts(unknown(plan()), {}) | {"sources": []}
    assert f"Nothing is decided on a: {MARGIN_UNKNOWN}." in plan_page(facts).notes
    assert save_figures(facts, tmp_path)


def test_a_table_leaves_it_empty_until_another_fills_it(tmp_path: Path) -> None:
    table = unknown(search("a", 0.0))
    place = tmp_path / "rows.csv"
    place.write_bytes(export(table, "csv"))
    kept = read_rows(place)
    assert [row.margin for row in kept] == [None, None, None]
    known = [replace(row, margin=1.75) for row in table]
    assert [row.margin for row in filled(kept, known)] == [1.75, 1.75, 1.75]
