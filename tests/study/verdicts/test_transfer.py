"""A transfer matrix says what its rows say, and counts as the paper counts."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from plan_rows import network, plan, search
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.published import figure2, published_difference, table2
from tombola.study.verdicts.transfer import (
    TransferCell,
    TransferMatrix,
    TransferRow,
    transfer_matrices,
)

GLUE = ("glue/sst2", "glue/rte")


def moved(source: str, target: str, change: float | None) -> list[Row]:
    return network("transfer", target, change, arm="moved", source=source)


def by_source(matrix: TransferMatrix) -> dict[str, TransferRow]:
    return {each.source: each for each in matrix.sources}


def place(source: TransferRow, target: str) -> TransferCell:
    [found] = [each for each in source.places if each.target == target]
    return found


@pytest.fixture
def matrix() -> TransferMatrix:
    rows = search("a", -0.5) + search("b", -2.0) + search("c", 0.0)
    rows += moved("a", "a", -0.5) + moved("a", "b", -1.0) + moved("a", "c", -6.0)
    rows += moved("b", "a", -0.5) + moved("b", "c", -0.1)
    rows += network("one-shot", "a", -0.4) + network("one-shot", "b", -9.0)
    [found] = transfer_matrices(rows)
    return found


def test_a_matrix_has_a_row_a_source_and_a_column_a_target(matrix: TransferMatrix) -> None:
    assert (matrix.arm, matrix.sparsity) == ("moved", Decimal("0.7"))
    assert [each.source for each in matrix.sources] == ["a", "b", "one-shot"]
    assert matrix.targets == ["a", "b", "c"]


def test_differences_are_paired_with_dense_and_with_the_targets_own_ticket(
    matrix: TransferMatrix,
) -> None:
    found = place(by_source(matrix)["a"], "b")
    assert found.minus_dense.mean == pytest.approx(-1.0)
    low, high = found.minus_dense.interval or (0.0, 0.0)
    assert low < -1.0 < high
    assert found.minus_same_task is not None
    assert found.minus_same_task.mean == pytest.approx(1.0)
    ends = found.minus_same_task.interval or (0.0, 0.0)
    assert 0.7 < ends[0] < 1.0 < ends[1] < 1.3  # equal differences, on 2,000 examples
    assert len(found.minus_same_task.runs) == 6


def test_a_source_on_its_own_task_stands_on_the_diagonal_and_is_compared_with_nothing(
    matrix: TransferMatrix,
) -> None:
    for source in ("a", "b"):
        own = place(by_source(matrix)[source], source)
        assert own.minus_same_task is None
    assert place(by_source(matrix)["b"], "b").minus_dense.mean == pytest.approx(-2.0)


def test_targets_at_least_as_good_as_their_own_ticket_are_counted(matrix: TransferMatrix) -> None:
    found = by_source(matrix)
    assert (found["a"].at_least_same_task, found["a"].compared) == (1, 2)
    assert (found["b"].at_least_same_task, found["b"].compared) == (1, 2)
    assert found["b"].shown_at_least_same_task == ("a", "c")
    assert (found["one-shot"].at_least_same_task, found["one-shot"].compared) == (1, 2)


def test_a_source_is_universal_if_it_matches_on_every_target() -> None:
    rows = [row for target in "abc" for row in search(target, 0.0)]
    rows += [row for target in "abc" for row in moved("a", target, -0.2)]
    rows += [row for target in "abc" for row in moved("b", target, -0.2 - 9 * (target == "c"))]
    [found] = transfer_matrices(rows)
    good, bad = (by_source(found)[source].universality for source in "ab")
    assert (good.status, good.tasks, good.matching) == ("matching", 3, ("a", "b", "c"))
    assert (bad.status, bad.matching) == ("not matching", ("a", "b"))


def test_an_unfinished_matrix_marks_its_gaps() -> None:
    rows = search("a", 0.0) + search("b", 0.0) + moved("a", "b", None)
    half = network("transfer", "a", 0.0, arm="moved", source="b", dense=(80.0, None, 80.2))
    [found] = transfer_matrices(rows + half)
    empty, some = place(by_source(found)["a"], "b"), place(by_source(found)["b"], "a")
    assert (empty.minus_dense.mean, empty.minus_dense.gaps) == (None, (0, 1, 2))
    assert (some.minus_dense.seeds, some.minus_dense.gaps) == (2, (1,))
    assert by_source(found)["b"].universality.unfinished == ("a",)
    assert by_source(found)["a"].universality.status == "undecided"
    json.dumps([found.to_json()])


def test_one_seed_has_no_interval() -> None:
    rows = search("a", 0.0) + search("b", 0.0) + moved("a", "b", -1.0)
    [found] = transfer_matrices([row for row in rows if row.seed == 0])
    estimate = place(by_source(found)["a"], "b").minus_dense
    assert estimate.mean == pytest.approx(-1.0)
    assert estimate.interval is None


def test_a_plan_without_transfer_has_no_matrix() -> None:
    assert transfer_matrices(search("a", 0.0)) == []


def test_the_papers_own_counts_come_out_of_its_own_matrix() -> None:
    published = figure2()
    targets = [
        name
        for name in published["wikipedia-mlm"]
        if "/" in name or name in ("squad", "wikipedia-mlm")
    ]
    assert len(targets) == 11
    for source, row in published.items():
        others = [target for target in targets if target != source]
        more = sum(row[target] > published[target][target] for target in others)
        ties = sum(row[target] == published[target][target] for target in others)
        assert more <= row["targets_at_least_same_task"] <= more + ties


def test_published_differences_are_of_tasks_of_the_paper_only() -> None:
    rte = search("glue/rte", 0.0), network("transfer", "glue/rte", 0.0, source="wikipedia-mlm")
    assert published_difference(Comparison(tuple(rte[0]))) == -7.79
    assert published_difference(Comparison(tuple(rte[1]), tuple(rte[0]))) == 1.44
    own = tuple(search("glue/rte", 0.0, sparsity=Decimal("0.6")))
    random = tuple(network("random", "glue/rte", 0.0, sparsity=Decimal("0.6")))
    assert published_difference(Comparison(own)) == -0.2
    assert published_difference(Comparison(own, random)) == 10.0
    assert table2()["glue/rte"]["sparsity_pct"] == "60"
    for task in ("sentiment", "mlm"):  # the package's own texts
        rows = tuple(search(task, 0.0))
        assert published_difference(Comparison(rows)) is None


def test_tickets_of_another_finder_have_no_published_difference() -> None:
    moved: dict[str, Any] = {"arm": "moved", "source": "wikipedia-mlm"}
    for finder, known in (("", True), ("imp", True), ("snip", False)):
        rows = tuple(network("transfer", "glue/rte", 0.0, finder=finder, **moved))
        assert (published_difference(Comparison(rows)) is not None) == known
    for control, known in (("random", True), ("reinit", False), ("shuffle", False)):
        given: dict[str, Any] = {"of": "tickets", "sparsity": Decimal("0.6")}
        rows = tuple(network(control, "glue/rte", 0.0, finder="snip", **given))
        assert (published_difference(Comparison(rows)) is not None) == known


@pytest.mark.parametrize("structure", ["2:4", "heads-and-neurons"])
def test_structured_masks_have_no_published_difference(structure: str) -> None:
    for kind in ("imp", "reinit", "shuffle"):
        given: dict[str, Any] = {"source": "glue/rte", "sparsity": Decimal("0.6")}
        given["of"] = "" if kind == "imp" else "tickets"
        plain = tuple(network(kind, "glue/rte", 0.0, **given))
        structured = tuple(network(kind, "glue/rte", 0.0, structure=structure, **given))
        assert published_difference(Comparison(plain)) is not None
        assert published_difference(Comparison(structured)) is None
    for kind in ("one-shot", "transfer"):
        source = "" if kind == "one-shot" else "wikipedia-mlm"
        rows = tuple(network(kind, "glue/rte", 0.0, source=source, structure=structure))
        assert published_difference(Comparison(rows)) is None


def test_own_tickets_have_the_structure_of_those_that_are_moved() -> None:
    rows = search("a", 0.0) + search("b", -9.0)
    own = [search(task, 0.0, arm="rows", structure="rows") for task in "ab"]
    given: dict[str, Any] = {"arm": "moved", "source": "a", "structure": "rows"}
    there = network("transfer", "b", -1.0, **given)
    moved = [replace(r, mask_key=t.mask_key) for r, t in zip(there, own[0], strict=True)]
    [found] = transfer_matrices([*rows, *own[0], *own[1], *moved])
    against = place(by_source(found)["a"], "b").minus_same_task
    assert against is not None
    assert against.mean == pytest.approx(-1.0)


def test_own_tickets_are_found_with_the_same_knobs_and_at_the_recipe_s_rate() -> None:
    """Whichever arm comes first."""
    arms: list[dict[str, Any]] = [
        {"arm": "erk", "knobs": ("allocation=erk",)},
        {"arm": "short", "budget": 1.0},
        {"arm": "coarse", "rounds": (Decimal("0.35"), Decimal("0.7"))},
        {"arm": "swept", "name": "imp, learning rate 0.001"},
        {"arm": "tickets"},
    ]
    rows = [row for terms in arms for task in "ab" for row in search(task, 0.0, **terms)]
    plain = [row for row in rows if row.arm == "tickets" and row.target == "a"]
    there = network("transfer", "b", -0.2, arm="moved", source="a")
    moved = [replace(r, mask_key=t.mask_key) for r, t in zip(there, plain, strict=True)]
    [found] = transfer_matrices([*rows, *moved])
    cell = place(by_source(found)["a"], "b")
    assert cell.minus_same_task is not None
    assert {key for key in cell.minus_same_task.runs if not key.startswith(("moved", "dense"))} == {
        row.key for row in rows if row.arm == "tickets" and row.target == "b"
    }


def test_one_shot_tickets_on_other_terms_have_rows_of_their_own() -> None:
    rows = network("transfer", "b", -0.2, arm="moved", source="a")
    rows += network("one-shot", "b", -1.0)
    rows += network("one-shot", "b", -2.0, arm="erk", knobs=("allocation=erk",))
    for arm in ("further", "other"):
        rows += network("one-shot", "b", -3.0, arm=arm, variant=("from-ticket",))
    [found] = transfer_matrices(rows)
    assert [row.source for row in found.sources][1:] == [
        *("one-shot", "one-shot allocation=erk"),
        *("one-shot from-ticket in further", "one-shot from-ticket in other"),
    ]


def test_of_two_one_shot_arms_the_one_on_the_seeds_of_the_tickets_counts() -> None:
    rows = search("a", 0.0) + search("b", 0.0)
    rows += network("transfer", "b", -1.0, arm="moved", source="a")
    for arm, change in (("one-shot", -2.0), ("again", -5.0)):
        rows += [row for target in "ab" for row in network("one-shot", target, change, arm=arm)]
    late = network("one-shot", "a", -30.0, arm="x") + network("one-shot", "b", -30.0, arm="x")
    late = [replace(row, seed=row.seed + 2) for row in late]
    for table in ([*rows, *late], [*late, *rows]):
        [matrix] = transfer_matrices(table)
        [one_shot] = [row for row in matrix.sources if row.source == "one-shot"]
        assert [place.minus_dense.mean for place in one_shot.places] == pytest.approx([-2.0] * 2)


def test_a_place_whose_run_diverged_says_which_and_is_no_mean_of_the_others() -> None:
    table = [
        replace(row, score=None, difference=None, state="diverged")
        if (row.kind, row.target, row.source, row.seed) == ("transfer", "b", "a", 2)
        else row
        for row in plan()
    ]
    there = place(by_source(transfer_matrices(table)[0])["a"], "b").minus_dense
    assert (there.diverged, there.interval) == ((2,), None)
    assert there.reason == "transfer, seed 2, diverged"


def test_tickets_at_a_rate_are_compared_with_the_targets_own_at_that_rate() -> None:
    fast = {"name": "imp, learning rate 0.001", "learning_rate": 1e-3}
    slow = {"name": "imp, learning rate 0.0001", "learning_rate": 1e-4}
    rows = search("a", -9.0, learning_rate=3e-4) + search("b", -9.0, learning_rate=3e-4)
    rows += search("a", -5.0, arm="slow", **slow) + search("b", -5.0, arm="slow", **slow)
    rows += search("a", 0.0, arm="fast", **fast) + search("b", 0.0, arm="fast", **fast)
    name = "transfer, learning rate 0.001"
    of: dict[str, Any] = {"arm": "moved", "source": "a", "name": name, "learning_rate": 1e-3}
    rows += network("transfer", "b", -1.0, **of)
    [found] = transfer_matrices(rows)
    against = place(by_source(found)["a"], "b").minus_same_task
    assert against is not None
    assert against.mean == pytest.approx(-1.0)
