"""A row says what its run was, from what made it, and what came of it; every format says it."""

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from plan_rows import NUMERICS, network
from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.store.artifacts import keep_mask
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.cell import OPTIONS
from tombola.plan.job import Job, one_shot
from tombola.plan.plan import Plan
from tombola.study.table.export import READABLE, export
from tombola.study.table.row import Row
from tombola.study.table.table import groups, refuse_empty, refuse_mixed_rows, rows, with_overlaps
from tombola.study.verdicts.matching import matching
from tombola.ticket.mask import Mask

ARMS = """
version: 1
tasks: [sentiment, mlm]
seeds: [0, 1]
train: {train_limit: 320}
arms:
  dense: {kind: dense}
  tickets: {kind: imp, sparsity: 0.6, step: 0.2}
  late: {kind: imp, sparsity: 0.6, step: 0.2, rewind_fraction: 0.5}
  never: {kind: imp, sparsity: 0.6, step: 0.2, no_rewind: true}
  code:
    {kind: imp, sparsity: 0.6, step: 0.2, keep_head: true, long_horizon: true, prune_first: true}
  swept: {kind: control, of: tickets, names: [random, reinit], learning_rates: [1.0e-3]}
  one-shot: {kind: one-shot, sparsity: 0.6}
  moved: {kind: transfer, of: tickets}
  moved-late: {kind: transfer, of: late}
  moved-code: {kind: transfer, of: code}
  moved-first: {kind: transfer, of: code, sparsity: 0.2}
  moved-weights: {kind: transfer, of: late, start: rewound}
  basin: {kind: connectivity, of: tickets}
  fresh: {kind: evaluate, of: late, seeds: [100], init: shuffle}
"""

STRUCTURED = """
version: 1
tasks: [sentiment, mlm]
arms:
  plain: {kind: imp, sparsity: 0.5}
  tickets: {kind: imp, structure: "2:4", rounds: [0.5]}
  controls: {kind: control, of: tickets, names: [random, reinit]}
  moved: {kind: transfer, of: tickets}
  fresh: {kind: evaluate, of: tickets, seeds: [100]}
  pruned: {kind: one-shot, structure: rows, sparsity: 0.5}
"""

ALLOCATED = """
version: 1
tasks: [sentiment]
arms:
  even: {kind: snip, allocation: uniform, batches: 2, sparsity: 0.5}
  controls: {kind: control, of: even, names: [random, reinit]}
  plain: {kind: one-shot, sparsity: 0.5}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "mine.yaml"
    file.write_text(ARMS, encoding="utf-8")
    return expand(read_plan(file), subject)


def finish(
    store: Store,
    job: Job,
    score: float | None,
    diverged: dict[str, Any] | None = None,
    **numerics: Any,
) -> None:
    """Keep a training as if it had been done."""
    facts: dict[str, Any] = {"score": score, "trivial": 50.0, "metric": "accuracy"}
    facts["resolution"] = 0.05
    facts |= {"steps": 30, "tokens": 900, "training_seconds": 1.5}
    facts |= {"summed_learning_rate": 0.01} | ({"diverged": diverged} if diverged else {})
    done = Result(
        **job.named(), facts=facts, numerics={**NUMERICS, **numerics}, seconds=2.0, peak_memory=1
    )
    store.save(done, {})


@pytest.fixture
def store(plan: Plan, tmp_path: Path) -> Store:
    """All that is done for one task is done; nothing for the other."""
    kept = Store(tmp_path / "store")
    for job in plan.jobs:
        if job.kind == "train" and job.subject.task.name == "sentiment":
            finish(kept, job, 80.0 if job.label.endswith("dense") else 79.0)
    return kept


def by_arm(table: list[Row], arm: str) -> list[Row]:
    return [row for row in table if row.arm == arm]


def test_a_row_a_cell_with_scores_where_there_are_any(plan: Plan, store: Store) -> None:
    table = rows(plan, store, "mine")
    assert [(row.arm, row.key) for row in table] == [(cell.arm, cell.key) for cell in plan.cells]
    for row in table:
        assert row.plan == "mine"
        assert row.examples == 320
        if row.target == "mlm":
            assert (row.state, row.score, row.difference, row.seconds) == ("missing",) + (None,) * 3
        elif row.kind != "dense":
            assert (row.state, row.score, row.dense, row.difference) == ("done", 79.0, 80.0, -1.0)
            assert (row.margin, row.trivial, row.seconds) == (1.5, 50.0, 2.0)


@pytest.mark.parametrize(
    ("arm", "variant", "rewind_step"),
    [
        ("dense", (), 0),
        ("tickets", (), 0),
        ("late", ("rewind",), 15),
        ("never", ("no-rewind",), 0),
        ("code", ("keep-head", "long-horizon", "prune-first"), 0),
        ("one-shot", (), 0),
        ("moved", (), 0),
        ("moved-late", ("rewind",), 15),
        ("moved-weights", ("rewind",), 15),
        ("moved-code", ("keep-head", "long-horizon", "prune-first"), 0),
        ("moved-first", ("prune-first",), 0),
        ("fresh", ("rewind",), 15),
    ],
)
def test_a_row_has_the_variant_of_the_search_that_its_mask_comes_from(
    plan: Plan, store: Store, arm: str, variant: tuple[str, ...], rewind_step: int
) -> None:
    last = by_arm(rows(plan, store), arm)[-1]
    assert (last.variant, last.rewind_step) == (variant, rewind_step)
    assert set(variant) <= set(OPTIONS)


def test_a_row_has_what_its_training_and_its_search_computed(plan: Plan, store: Store) -> None:
    for job in plan.jobs:
        if job.kind == "prune" and job.subject.task.name == "sentiment":
            finish(store, job, None)
    table = [row for row in rows(plan, store) if row.target == "sentiment" and row.seed == 0]
    assert {(row.steps, row.forward_tokens, row.backward_tokens) for row in table} == {
        (30, 900, 900)
    }
    (dense,) = by_arm(table, "dense")
    assert (dense.search_forward_tokens, dense.search_trainings) == (None, None)
    tickets = by_arm(table, "tickets")
    assert [row.search_trainings for row in tickets] == [1, 2, 3]
    assert [row.search_backward_tokens for row in tickets] == [900, 1800, 2700]
    assert tickets[0].search_seconds == 1.5 + 2.0
    costs = {row.kind: row.search_trainings for row in by_arm(table, "swept")}
    assert costs == {"random": 0, "reinit": 3}
    assert {row.search_trainings for row in by_arm(table, "one-shot")} == {0}


def test_a_row_has_the_structure_of_its_mask(tmp_path: Path) -> None:
    file = tmp_path / "structured.yaml"
    file.write_text(STRUCTURED, encoding="utf-8")
    table = rows(expand(read_plan(file), subject), Store(tmp_path / "none"))
    assert {(row.arm, row.kind): row.structure for row in table} == {
        ("plain", "imp"): "",
        ("tickets", "imp"): "2:4",
        ("controls", "reinit"): "2:4",
        ("controls", "random"): "2:4",
        ("moved", "transfer"): "2:4",
        ("fresh", "evaluate"): "2:4",
        ("pruned", "one-shot"): "rows",
    }


def test_a_row_has_the_knobs_of_the_finder_behind_its_mask(tmp_path: Path) -> None:
    file = tmp_path / "allocated.yaml"
    file.write_text(ALLOCATED, encoding="utf-8")
    table = rows(expand(read_plan(file), subject), Store(tmp_path / "none"))
    assert {(row.arm, row.kind): row.knobs for row in table} == {
        ("even", "snip"): ("allocation=uniform", "batches=2"),
        ("controls", "reinit"): ("allocation=uniform", "batches=2"),
        ("controls", "random"): (),
        ("plain", "one-shot"): (),
    }


def test_a_row_has_the_rounds_of_the_search_behind_its_mask(plan: Plan, store: Store) -> None:
    table = [row for row in rows(plan, store) if row.target == "mlm" and row.source != "sentiment"]
    two, three = (tuple(map(Decimal, text.split())) for text in ("0.2 0.4", "0.2 0.4 0.6"))
    for arm in ("tickets", "late", "never", "code", "moved", "moved-late", "basin", "fresh"):
        assert by_arm(table, arm)[-1].rounds == three
    assert [row.rounds for row in by_arm(table, "tickets")][:3] == [(Decimal("0.2"),), two, three]
    assert {row.rounds for row in by_arm(table, "one-shot")} == {()}
    assert {row.name[:6]: row.rounds for row in by_arm(table, "swept")} == {
        "random": (),
        "reinit": three,
    }


def test_a_sweep_and_an_initialisation_have_columns_of_their_own(plan: Plan, store: Store) -> None:
    table = rows(plan, store)
    swept = by_arm(table, "swept")
    assert {(row.kind, row.of, row.learning_rate) for row in swept} == {
        ("random", "tickets", 1e-3),
        ("reinit", "tickets", 1e-3),
    }
    assert {row.init for row in by_arm(table, "fresh")} == {"shuffle"}


def test_the_ends_of_a_line_are_no_tickets(plan: Plan, store: Store) -> None:
    table = rows(plan, store)
    ends = by_arm(table, "basin")
    assert {row.kind for row in ends} == {"connectivity"}
    assert "basin" not in {each.row.arm for each in matching(table).judged}


def test_runs_that_need_weights_of_one_that_diverged_have_diverged_and_others_are_missing(
    plan: Plan, tmp_path: Path
) -> None:
    kept, dense = Store(tmp_path / "nan"), plan.cells[0].training
    finish(kept, dense, None, diverged={"step": 3, "what": "loss"})
    table = [row for row in rows(plan, kept) if (row.source or row.target) == row.target]
    states = {
        (row.arm, row.kind): row.state
        for row in table
        if (row.seed, row.target) == (0, "sentiment") and row.sparsity in (None, Decimal("0.6"))
    }
    assert states["dense", "dense"] == states["tickets", "imp"] == "diverged"
    assert states["swept", "reinit"] == "diverged"
    assert states["one-shot", "one-shot"] == states["code", "imp"] == "missing"
    assert {row.state for row in table if row.seed == 1} == {"missing"}


def test_overlap_with_one_shot_is_known_where_both_masks_are_kept(plan: Plan, store: Store) -> None:
    [cell, *_] = [cell for cell in plan.cells if cell.arm == "tickets"]
    assert cell.ticket is not None
    bits = torch.tensor([True, False, False, True])
    keep_mask(store, cell.ticket, Mask({"w": bits}))
    before = with_overlaps(rows(plan, store), plan, store)
    assert {row.jaccard_one_shot for row in before} == {None}
    same = one_shot(cell.ticket.subject, Decimal("0.2"))
    keep_mask(store, same, Mask({"w": torch.tensor([False, False, True, True])}))
    after = by_arm(with_overlaps(rows(plan, store), plan, store), "tickets")
    assert after[0].jaccard_one_shot == pytest.approx(1 / 3)
    assert after[1].jaccard_one_shot is None


def test_seeds_of_a_network_are_summed_up_together(plan: Plan, store: Store) -> None:
    found = groups(rows(plan, store))
    assert sum(each["cells"] for each in found) == len(plan.cells)
    assert found[0]["name"] == "dense"
    assert (found[0]["done"], found[0]["mean"], found[0]["std"]) == (2, 80.0, 0.0)
    assert (found[1]["target"], found[1]["done"], found[1]["mean"]) == ("mlm", 0, None)


def test_an_empty_store_is_refused_in_one_line(plan: Plan, tmp_path: Path) -> None:
    kept = Store(tmp_path / "empty")
    with pytest.raises(SpecError, match=rf"got none of {len(plan.cells)}\. Run some") as caught:
        refuse_empty(rows(plan, kept), kept)
    assert "\n" not in str(caught.value)


def test_mixed_numerics_are_refused_on_one_task_but_not_across_tasks(
    plan: Plan, store: Store
) -> None:
    first, second = (cell.training for cell in plan.cells[:4] if cell.target == "mlm")
    finish(store, first, 30.0, threads=8)
    refuse_mixed_rows(rows(plan, store))
    finish(store, second, 30.0)
    message = f"threads is 8 in .*{first.key[:12]}.* and 1 in .*{second.key[:12]}"
    with pytest.raises(SpecError, match=message):
        refuse_mixed_rows(rows(plan, store))


# --- formats -----------------------------------------------------------------


@pytest.fixture
def few() -> list[Row]:
    return network("imp", "a|b_c", -1.0, arm="50 %", source="a|b_c", dense=(80.0, None, 80.25))


def test_csv_and_parquet_have_every_column_of_every_row(few: list[Row], tmp_path: Path) -> None:
    plain = [row.to_json() for row in few]
    read = list(csv.DictReader(io.StringIO(export(few, "csv").decode())))
    assert read == [{k: "" if v is None else str(v) for k, v in row.items()} for row in plain]
    file = tmp_path / "rows.parquet"
    file.write_bytes(export(few, "parquet"))
    assert pq.read_table(file).to_pylist() == plain
    nothing = network("imp", "a", None)
    file.write_bytes(export(nothing, "parquet"))
    schema = pq.read_schema(file)
    for name, kind in {"score": "double", "steps": "int64", "sparsity": "string"}.items():
        assert schema.field(name).type == kind
    file.write_bytes(export(nothing, "parquet", together=True))
    schema = pq.read_schema(file)
    for name, kind in {"mean": "double", "diverged": "int64", "sparsity": "string"}.items():
        assert schema.field(name).type == kind
    json.dumps(plain)


def squeezed(line: str) -> str:
    """A line of a table without the blanks that align it."""
    return re.sub(" +", " ", line).strip()


def test_markdown_and_latex_escape_what_they_must_and_mark_gaps(few: list[Row]) -> None:
    page = [squeezed(line) for line in export(few, "markdown").decode().splitlines()]
    assert page[0].startswith("| arm | name | source | target | sparsity | seed | state |")
    assert page[2] == "| 50 % | imp | a\\|b_c | a\\|b_c | 0.7 | 0 | done | 79.00 | -1.00 |"
    assert page[3].endswith("| 1 | missing | | |")
    tabular = export(few, "latex").decode()
    lines = [squeezed(line) for line in tabular.splitlines()]
    assert r"50 \% & imp & a|b\_c & a|b\_c & 0.7 & 0 & done & 79.00 & -1.00 \\" in lines
    assert tabular.count("\\\\") == 4
    assert tabular.startswith(r"\begin{tabular}{lllllrlrr}")


def test_no_name_breaks_out_of_its_cell() -> None:
    hostile = network("imp", "a", -1.0, arm="x\\|y\n<b>`*\x1b[1m#~^{}$1e5")
    for form in ("markdown", "latex"):
        assert len(export(hostile, form).decode().splitlines()) == {"markdown": 5, "latex": 9}[form]
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", export(hostile, "markdown").decode().splitlines()[2])
    assert len(cells) == 2 + len(READABLE)
    assert r"x\\\|y\\n\<b>\`\*\\x1b[1m#~^{}$1e5" in export(hostile, "markdown").decode()
    assert r"x\textbackslash{}|y\textbackslash{}n" in export(hostile, "latex").decode()
    assert r"\#\textasciitilde{}\^{}\{\}\$1e5" in export(hostile, "latex").decode()


def test_seeds_together_take_a_row_in_any_format(few: list[Row]) -> None:
    for form in ("csv", "markdown", "latex", "parquet"):
        assert export(few, form, together=True)
    [row] = csv.DictReader(io.StringIO(export(few, "csv", together=True).decode()))
    assert (row["state"], row["done"], row["minus_dense"]) == ("2 of 3 seeds", "2", "-1.05")


def test_an_unknown_format_and_no_rows_are_refused(few: list[Row]) -> None:
    with pytest.raises(SpecError, match="no format of a table 'excel'"):
        export(few, "excel")
    with pytest.raises(SpecError, match="without any"):
        export([], "csv")
