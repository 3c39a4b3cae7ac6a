"""A table that was written says the same once it is read, and fills what a store lacks."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plan_rows import NUMERICS, network, plan
from tombola.base.errors import SpecError
from tombola.study.claims.claims import decide_claims
from tombola.study.table.export import export
from tombola.study.table.integrity import refuse_other_scores
from tombola.study.table.reading import filled, is_table, read_rows
from tombola.study.table.row import Row, digest, minus
from tombola.study.verdicts.matching import matching
from tombola.study.verdicts.transfer import transfer_matrices


def written(folder: Path, table: list[Row], name: str = "rows.csv") -> Path:
    file = folder / name
    file.write_bytes(export(table, file.suffix[1:]))
    return file


def dense(*rows: Row) -> list[Row]:
    """The rows of the dense runs that rows are compared with."""
    return [
        replace(
            row,
            arm="dense",
            name="dense",
            kind="dense",
            source="",
            sparsity=None,
            score=row.dense,
            difference=0.0,
            key=row.dense_key,
            mask_key=None,
            state="missing" if row.dense is None else "done",
            numerics=row.dense_numerics,
        )
        for row in rows
    ]


def whole(rows: list[Row]) -> list[Row]:
    """The rows of a plan that has no others."""
    return [replace(row, plan_rows=len(rows)) for row in rows]


@pytest.fixture
def table() -> list[Row]:
    rows = plan()
    firsts = {row.dense_key: row for row in rows}
    return whole([*dense(*firsts.values()), *rows])


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_rows_are_read_as_they_were_written(table: list[Row], tmp_path: Path, name: str) -> None:
    variant = ("rewind", "keep-head")
    full: dict[str, Any] = {"rewind_step": 15, "seconds": 0.1 + 0.2, "jaccard_one_shot": 1 / 3}
    wrote = whole([*table, *network("imp", "x", None, variant=variant, **full)])
    read = read_rows(written(tmp_path, wrote, name))
    for one, other in zip(read, wrote, strict=True):
        if one.difference is not None:
            assert one.difference == pytest.approx(other.difference, abs=1e-9)
        assert replace(one, difference=other.difference) == other
    assert [row.to_json()["numerics"] for row in read] == [
        row.to_json()["numerics"] for row in wrote
    ]


@pytest.mark.parametrize("column", ["structure", "budget", "steps", "search_trainings"])
def test_a_table_that_lacks_a_column_is_refused(
    table: list[Row], tmp_path: Path, column: str
) -> None:
    """What isn't said may not be as usual: a rule would take such rows as evidence."""
    file = written(tmp_path, table)
    lines = list(csv.DictReader(file.read_text().splitlines()))
    with file.open("w", newline="") as place:
        writer = csv.DictWriter(place, [name for name in lines[0] if name != column])
        writer.writeheader()
        writer.writerows({k: v for k, v in line.items() if k != column} for line in lines)
    with pytest.raises(SpecError, match=f"got one without {column}"):
        read_rows(file)


def test_a_table_fills_what_another_knows_of_a_search(table: list[Row]) -> None:
    known = [replace(row, search_seconds=1.5, search_trainings=2.0) for row in table]
    for found in (filled(table, known), filled(known, table)):
        assert {row.search_trainings for row in found} == {2.0}


def test_a_table_says_what_its_rows_said(table: list[Row], tmp_path: Path) -> None:
    read = read_rows(written(tmp_path, table))
    assert rounded(json_of(read)) == rounded(json_of(table))


def json_of(table: list[Row]) -> list[Any]:
    """All that the verbs report on a table."""
    found = [each.to_json() for each in decide_claims(table)]
    return [
        matching(table).to_json(),
        *found,
        *(each.to_json() for each in transfer_matrices(table)),
    ]


def rounded(plain: Any) -> Any:
    """With numbers rounded, so that a difference that is computed again is the same."""
    if isinstance(plain, dict):
        return {name: rounded(value) for name, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [rounded(value) for value in plain]
    return round(plain, 6) if isinstance(plain, float) else plain


def test_a_difference_is_that_of_the_scores(table: list[Row], tmp_path: Path) -> None:
    changed = [replace(row, difference=7.0) if row.score is not None else row for row in table]
    for row in read_rows(written(tmp_path, changed)):
        if row.dense is not None and row.score is not None:
            assert row.difference == row.score - row.dense


def test_mixed_numerics_are_refused_in_a_table_too(table: list[Row], tmp_path: Path) -> None:
    other = [
        replace(row, numerics={**NUMERICS, "threads": 8}) if row.kind == "random" else row
        for row in table
    ]
    read = read_rows(written(tmp_path, other))
    with pytest.raises(SpecError, match=r"digest is .* in dense on .* and .* in random on"):
        matching(read)
    with pytest.raises(SpecError, match="digest is "):
        matching([*(row for row in read if row.kind == "random"), *table])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("arm,name\nx,y\n", "as `tombola table PLAN --output FILE` writes it, got one without"),
        (b"\xff\xfe\x00", "expected a CSV file at"),
    ],
)
def test_what_is_no_table_of_runs_is_refused(tmp_path: Path, content: Any, says: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError, match=says) as caught:
        read_rows(file)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_or_empty_or_no_parquet_is_refused(
    table: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="got no such file"):
        read_rows(tmp_path / "gone.csv")
    file = written(tmp_path, table)
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(SpecError, match="got a header alone"):
        read_rows(file)
    other = tmp_path / "rows.parquet"
    other.write_text("no")
    with pytest.raises(SpecError, match="expected a Parquet file") as caught:
        read_rows(other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("seed", "one", "a whole number as seed, got 'one' in row 2"),
        ("score", "nan", "a number as score, got 'nan' in row 2"),
        ("sparsity", "most", "decimal places as sparsity, got 'most' in row 2"),
        ("sparsity", "1e-99999999", "a number of at most 64 decimal places as sparsity, got '1e-9"),
        ("sparsity", "0e99999999", "decimal places as sparsity, got '0e99999999' in row 2"),
        ("sparsity", f"1e-{'9' * 30}", "decimal places as sparsity, got '1e-9"),
        ("rounds", "0.5 1e-65", "numbers of at most 64 decimal places as rounds, got '0.5 1e-65'"),
        ("margin", "-5", "a number of points, 0 or more, as margin, got -5.0 in row 2"),
        ("sparsity", "1.5", r"a fraction in \[0, 1\) as sparsity, got 1.5 in row 2"),
        ("seed", "-1", "a whole number from 0 as seed, got -1 in row 2"),
        ("score", "500", "a number of points from -100 to 100 as score, got 500.0 in row 2"),
        ("trivial", "-1e9", "a number of points from -100 to 100 as trivial, got -1000000000.0"),
        ("resolution", "0", "a number of points above 0 as resolution, got 0.0 in row 2"),
        ("resolution", "", "expected resolution where the state is done, got none in row 2"),
        ("trivial", "", "expected trivial where the state is done, got none in row 2"),
        ("numerics", "", "expected numerics where the state is done, got none in row 2"),
        ("dense_numerics", "", "expected dense_numerics where dense has a score, got none in row"),
        ("score", "", "expected a score where the state is done, got done and none in row 2"),
        ("state", "missing", "expected a score where the state is done, got missing and 79.7"),
        ("state", "perhaps", "one of done, missing, diverged as state, got 'perhaps' in row 2"),
    ],
)
def test_a_value_that_is_none_of_its_column_is_named(
    tmp_path: Path, field: str, value: str, says: str
) -> None:
    file = written(tmp_path, whole(network("imp", "a", -1.0)))
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows[1][field] = value
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(SpecError, match=says):
        read_rows(file)


def test_rows_are_those_of_whole_plans_each_run_once(table: list[Row], tmp_path: Path) -> None:
    def refused(rows: list[Row], says: str) -> None:
        with pytest.raises(SpecError, match=says) as caught:
            read_rows(written(tmp_path, rows))
        assert "\n" not in str(caught.value)

    refused(table + table, f"in rows 1 and {len(table) + 1}. Leave one out")
    refused(
        table[:-1], f"expected all {len(table)} rows of the plan '' in .*, got {len(table) - 1}"
    )
    refused([row for row in table if row.seed < 2], f"expected all {len(table)} rows")
    tickets = [row for row in table if row.kind == "imp" and row.target == "a"]
    twice = [*tickets, *(replace(row, seed=row.seed + 3) for row in tickets)]
    refused(whole(twice), "expected each run of imp on a once")
    renamed = [*tickets, *(replace(row, seed=row.seed + 3, key=f"{row.key}x") for row in tickets)]
    refused(whole(renamed), "expected each dense run of imp on a once")
    edited = [replace(row, dense=99.0) if row is tickets[0] else row for row in table]
    refused(edited, "one score and one numerics of the run dense.a.0")
    mixed = [
        replace(row, dense_numerics={"threads": 8}) if row is tickets[0] else row for row in table
    ]
    refused(mixed, "one score and one numerics of the run dense.a.0")


@pytest.mark.parametrize(
    ("field", "value", "about"),
    [
        ("margin", 30.0, "all runs on a"),
        ("metric", "pearson", "all runs on a"),
        ("split", "dev", "all runs on a"),
        ("trivial", 0.0, "all runs on a"),
        ("resolution", 1e-4, "all runs on a"),
        ("learning_rate", 1.0, "imp on a"),
        ("structure", "2:4", "imp on a"),
        ("variant", ("rewind",), "imp on a"),
        ("init", "reinit", "imp on a"),
        ("kind", "one-shot", "imp on a"),
        ("examples", 7, "imp on a"),
    ],
)
def test_rows_that_are_compared_say_the_same_of_what_they_are(
    table: list[Row], tmp_path: Path, field: str, value: Any, about: str
) -> None:
    [other, *_] = [row for row in table if (row.arm, row.target) == ("tickets", "a")]
    changed = [replace(row, **{field: value}) if row is other else row for row in table]
    with pytest.raises(SpecError, match=f"expected one {field} of {about} in") as caught:
        read_rows(written(tmp_path, changed))
    assert "\n" not in str(caught.value)


def test_a_seed_of_a_task_has_one_dense_run_in_all_arms(table: list[Row], tmp_path: Path) -> None:
    moved = [replace(r, seed=(r.seed + 1) % 3) if r.kind == "imp" else r for r in table]
    foreign = [
        replace(r, dense_key=f"x{r.dense_key}", dense=r.dense - 30)
        if r.kind == "imp" and r.dense is not None
        else r
        for r in table
    ]
    for changed in (moved, foreign):
        with pytest.raises(SpecError, match="expected one dense run for each task and seed"):
            read_rows(written(tmp_path, changed))


def test_two_plans_in_one_table_are_two_plans(table: list[Row], tmp_path: Path) -> None:
    other = [
        replace(row, plan="other", key=f"o{row.key}", dense_key=f"o{row.dense_key}")
        for row in table
    ]
    read = read_rows(written(tmp_path, [*table, *other]))
    alone, both = matching(table), matching(read)
    assert len(both.judged) == 2 * len(alone.judged)
    assert {each.verdict.seeds for each in both.judged if each.verdict} == {3}
    assert len(both.families) == 2 * len(alone.families)
    assert {each.runs for each in both.spreads} == {3}
    assert len(both.spreads) == 2 * len(alone.spreads)
    assert len(transfer_matrices(read)) == 2 * len(transfer_matrices(table))


def test_dense_numerics_are_compared_without_a_dense_arm(tmp_path: Path) -> None:
    rows = [replace(row, dense_numerics={"threads": 8}) for row in network("imp", "a", 0.0)]
    with pytest.raises(SpecError, match="digest is "):
        matching(read_rows(written(tmp_path, whole(rows))))


def test_a_table_fills_what_is_missing_and_nothing_else() -> None:
    ours = network("imp", "a", -1.0)
    gap = network("imp", "a", None, dense=(None,) * 3, trivial=None, resolution=None)
    theirs = [
        replace(row, seconds=9.0, jaccard_one_shot=0.5, difference=minus(row.score, row.dense))
        for row in ours
    ]
    assert filled(gap, theirs) == theirs
    kept = filled(ours, theirs)
    assert [row.seconds for row in kept] == [None] * 3
    assert [row.jaccard_one_shot for row in kept] == [0.5] * 3
    elsewhere = [replace(row, key="k", dense_key="d", mask_key="m") for row in theirs]
    assert filled(gap, [*gap, *elsewhere]) == gap
    with pytest.raises(SpecError, match="expected a table of the same plan as --fill"):
        filled(gap, elsewhere)


def test_a_run_that_diverged_stays_so_through_a_table_and_fills_what_is_missing(
    tmp_path: Path,
) -> None:
    gap = network("imp", "a", None, dense=(None,) * 3)
    dense = [replace(row, name="dense", kind="dense", key=row.dense_key) for row in gap]
    ours = [replace(row, state="diverged", numerics=NUMERICS) for row in (*dense, *gap)]
    there = read_rows(written(tmp_path, whole(ours)))
    assert {row.state for row in there} == {"diverged"}
    found = filled(gap, there)
    assert {row.state for row in found} == {"diverged"}
    assert all(row.dense_numerics for row in found)


def test_a_table_with_another_score_of_the_same_training_is_refused() -> None:
    ours = network("imp", "a", -1.0)
    changed = [replace(row, score=99.0) for row in ours]
    with pytest.raises(SpecError, match=r"got 79\.0 and, for the same numerics, 99\.0"):
        filled(ours, changed)
    other = [replace(row, numerics={"threads": 8}) for row in changed]
    assert [row.score for row in filled(ours, other)] == [row.score for row in ours]


@pytest.mark.parametrize(("name", "said"), [("score", "got 79.0 in 'a' and"), ("dense", "got 80")])
def test_a_run_has_one_score_in_all_tables_for_the_same_numerics(name: str, said: str) -> None:
    ours = network("imp", "a", -1.0)
    changed = [replace(row, **{name: 99.0}) for row in ours]  # type: ignore[arg-type]
    read = {"digest": digest(NUMERICS)}
    for theirs in (changed, [replace(r, numerics=read, dense_numerics=read) for r in changed]):
        with pytest.raises(SpecError, match=said):
            refuse_other_scores([ours, theirs], ["a", "b"])
    other = {"threads": 8}
    for theirs in (ours, [replace(r, numerics=other, dense_numerics=other) for r in changed]):
        refuse_other_scores([ours, theirs], ["a", "b"])


@pytest.mark.parametrize(
    ("name", "there"), [("a.csv", True), ("a.parquet", True), ("a.yaml", False), ("pilot", False)]
)
def test_a_table_is_known_by_its_name(name: str, there: bool) -> None:
    assert is_table(name) == there
