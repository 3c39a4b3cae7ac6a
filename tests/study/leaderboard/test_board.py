"""The board has scores, verdicts, costs and ranks, and names no winner without a test."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from scipy import stats

from plan_rows import network, search
from tombola.study.leaderboard.board import leaderboard
from tombola.study.leaderboard.cost import Cost, frontier
from tombola.study.table.row import Row
from tombola.study.verdicts.matching import matching


def costly(table: list[Row], trainings: float) -> list[Row]:
    """The same rows, whose searches cost so many trainings."""
    return [
        replace(
            row,
            search_trainings=trainings,
            search_forward_tokens=int(1000 * trainings),
            search_backward_tokens=int(900 * trainings),
            search_seconds=60 * trainings,
            forward_tokens=1000,
            backward_tokens=900,
            seconds=61.0 + row.seed,
        )
        for row in table
    ]


def finders(task: str = "a") -> list[Row]:
    return [
        *costly(network("one-shot", task, -4.0), 0),
        *costly(search(task, -0.1, arm="imp"), 3),
        *costly(network("snip", task, -9.0, source=task), 0.5),
    ]


def test_the_board_has_every_finder_of_a_task_and_nothing_else() -> None:
    moved = network("transfer", "a", 3.0, source="b", arm="moved")
    control = network("random", "a", -20.0, arm="controls", of="imp", source="a")
    [board] = leaderboard(finders() + moved + control).boards
    assert [entry.row.kind for entry in board.entries] == ["imp", "one-shot", "snip"]
    assert (board.task, board.sparsity, board.budget) == ("a", Decimal("0.7"), None)


def test_an_entry_says_score_verdict_difference_from_one_shot_and_cost() -> None:
    [board] = leaderboard(finders()).boards
    imp, one_shot, snip = board.entries
    scores = [row.score for row in finders() if row.arm == "imp"]
    assert imp.score
    expected = stats.t.interval(0.90, 2, sum(scores) / 3, stats.sem(scores))  # type: ignore[arg-type]
    assert imp.score[1:] == pytest.approx(expected, abs=0.002)
    [verdict] = matching(search("a", -0.1, arm="imp")).judged
    assert imp.judged.verdict == verdict.verdict
    assert imp.minus_one_shot
    assert imp.minus_one_shot.mean == pytest.approx(3.9)
    assert one_shot.minus_one_shot is None
    assert imp.cost == Cost(trainings=4.0, forward_tokens=4000, backward_tokens=3600, seconds=242.0)
    assert [entry.on_frontier for entry in board.entries] == [True, True, False]
    assert snip.cost
    assert snip.cost.trainings == 1.5


def test_a_winner_is_named_only_if_tests_show_one() -> None:
    [board] = leaderboard(finders()).boards
    assert board.winner is board.entries[0]
    assert [entry.ranks for entry in board.entries] == [(1, 1), (2, 2), (3, 3)]
    close = finders() + costly(network("movement", "a", -0.1, wobble=(0.3, 0.1, -0.2)), 1)
    [board] = leaderboard([replace(row, source="a") for row in close]).boards
    assert board.winner is None
    assert board.to_json()["winner"] is None
    assert [entry.ranks for entry in board.entries] == [(1, 2), (1, 2), (3, 3), (4, 4)]


def test_an_arm_with_the_runs_of_another_is_ranked_once() -> None:
    best = search("a", 5.0, arm="best")
    rows = [*network("snip", "a", -5.0, source="a"), *best]
    twin = [replace(row, arm="twin") for row in best]
    part = [replace(row, arm="part") for row in best[:2]]
    [board] = leaderboard([*part, *rows, *twin]).boards
    assert [(entry.title, entry.ranks) for entry in board.entries] == [
        ("best (also twin, part)", (1, 1)),
        ("snip", (2, 2)),
    ]
    assert board.to_json()["winner"] == board.to_json()["entries"][0]["title"]
    assert board.to_json()["entries"][0]["also"] == ["twin", "part"]


def test_tasks_sparsities_and_plans_have_boards_of_their_own() -> None:
    table = (
        finders("a")
        + finders("b")
        + [replace(row, plan="other", key=f"other {row.key}") for row in finders("a")]
    )
    table += search("a", 0.0, arm="imp", sparsity=Decimal("0.9"))
    boards = leaderboard(table).boards
    assert [(board.plan, board.task, str(board.sparsity)) for board in boards] == [
        ("", "a", "0.7"),
        ("", "a", "0.9"),
        ("", "b", "0.7"),
        ("other", "a", "0.7"),
    ]
    assert boards[1].winner is None
    assert boards[1].entries[0].minus_one_shot is None


def test_each_budget_ranks_by_itself_on_one_frontier() -> None:
    """One-shot pruning, which is compared with all, may be in another budget."""
    large = [replace(row, budget=8.0) for row in costly(search("a", -9.5, arm="imp-8"), 8)]
    small, other = leaderboard([*finders(), *large]).boards
    assert (small.budget, other.budget) == (None, 8.0)
    [entry] = other.entries
    assert (entry.ranks, entry.on_frontier, other.winner) == ((1, 1), False, None)
    assert entry.minus_one_shot
    assert entry.minus_one_shot.mean == pytest.approx(-5.5)


def test_distilled_tickets_are_not_ranked_with_others() -> None:
    taught = [replace(row, distill=0.5) for row in costly(search("a", 2.0, arm="taught"), 3)]
    plain, distilled = leaderboard([*finders(), *taught]).boards
    assert (plain.title, distilled.title) == ("a at 70 %", "a at 70 %, distill 0.5")
    assert (len(plain.entries), len(distilled.entries)) == (3, 1)


def test_unfinished_and_uncounted_runs_leave_gaps_and_no_numbers() -> None:
    table = [*finders()[:-1], replace(finders()[-1], score=None, state="missing")]
    snip = leaderboard([replace(row, search_trainings=None) for row in table]).boards[0].entries[2]
    assert snip.score is None
    assert snip.mean is not None
    assert (snip.cost, snip.on_frontier, snip.judged.verdict) == (None, False, None)
    assert snip.ranks == (1, 3)


def test_the_board_is_plain_json() -> None:
    found = leaderboard(finders()).to_json()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["boards"][0]["winner"] == "imp"
    assert again["boards"][0]["shown"][0].keys() == {
        *("better", "worse", "difference", "adjusted_p_value"),
    }
    assert again["boards"][0]["entries"][0]["verdict"]["status"] == "matching"


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    places = [(1.0, 5.0), (2.0, 9.0), (2.0, 8.0), (3.0, 9.0), (None, 10.0), (0.5, None)]
    assert frontier(places) == [True, True, False, False, False, False]
    assert frontier([(1.0, 5.0), (1.0, 5.0)]) == [True, True]


def test_the_learning_rates_of_an_arm_are_told_apart() -> None:
    table = [
        row
        for rate, change in (("0.0001", -9.0), ("0.001", -1.0))
        for row in network("snip", "a", change, name=f"snip, learning rate {rate}", source="a")
    ]
    table = [replace(row, arm="swept") for row in table]
    [board] = leaderboard(table).boards
    said = board.to_json()
    assert said["winner"] == "swept: snip, learning rate 0.001"
    [pair] = said["shown"]
    assert (pair["better"], pair["worse"]) == tuple(entry["title"] for entry in said["entries"])
    assert pair["worse"] == "swept: snip, learning rate 0.0001"


def test_a_ticket_is_compared_with_one_shot_pruning_at_its_own_learning_rate() -> None:
    table = [
        row
        for rate, change in ((1e-4, -9.0), (1e-3, -1.0))
        for kind, more in (("one-shot", 0.0), ("snip", 2.0))
        for row in network(
            *(kind, "a", change + more), name=f"{kind} {rate}", arm=kind, learning_rate=rate
        )
    ]
    table = [replace(row, kind=row.arm) for row in table]
    [board] = leaderboard(table).boards
    differences = [each.minus_one_shot for each in board.entries if each.row.kind == "snip"]
    assert [each.mean for each in differences if each] == pytest.approx([2.0, 2.0])
