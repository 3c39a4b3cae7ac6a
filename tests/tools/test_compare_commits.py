"""The comparison of two commits notices what a refactoring must not change, and nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tombola.ticket.mask import Mask
from tombola.ticket.schedule import shortest_sparsity
from tombola.ticket.ticket import Ticket

KEY = "ab" * 32
RESULT = f"store/results/ab/{KEY}/result.json"
MASK = f"store/results/ab/{KEY}/mask.safetensors"
FOUND = "search/find.json"

Compare = Callable[[], list[str]]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """What one commit has left: a search, its ticket, its store."""
    folder = tmp_path / "before"
    write(
        folder / RESULT,
        {
            "digest": "1" * 64,
            "key": KEY,
            "facts": {"score": 59.375, "loss": None, "training_seconds": 1.5},
            "seconds": 2.5,
            "peak_memory": 1000,
        },
    )
    save_file({"layer.weight": np.array([11, 3], np.uint8)}, folder / MASK)
    write(folder / FOUND, {"dense": {"values": [59.375]}, "notes": ["It scores 59.38 of 100."]})
    write(folder / "search/out/ticket-seed-0/ticket.json", {"created_by": "tombola 1", "dead": 3})
    write(folder / "search/statuses.json", {"find": 0})
    (folder / "search/rows.csv").write_text("name,score,seconds\ndense,59.375,1.0\n")
    (folder / "search/report.html").write_text("<p>matching</p>")
    return folder


@pytest.fixture
def after(before: Path, tmp_path: Path) -> Path:
    """What the other commit has left: the same."""
    return Path(shutil.copytree(before, tmp_path / "after"))


@pytest.fixture
def compare(before: Path, after: Path) -> Compare:
    """The differences as lines."""
    from differences import Side, differences

    sides = Side(before, {str(before): "WORK"}), Side(after, {str(after): "WORK"})
    return lambda: [str(d) for unit in ("search", "store") for d in differences(*sides, unit)]


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_equal_folders_have_no_differences(compare: Compare) -> None:
    assert compare() == []


def test_one_flipped_bit_of_a_mask_is_noticed(after: Path, compare: Compare) -> None:
    mask = load_file(after / MASK)
    mask["layer.weight"][1] ^= 4
    save_file(mask, after / MASK)
    (found,) = compare()
    assert found.startswith(f"{MASK} at byte ")
    assert found.endswith(": 0x03 -> 0x07")


@pytest.mark.parametrize(
    ("file", "change", "found"),
    [
        (RESULT, ("59.375", "59.375000000000007"), "facts.score: 59.375 -> 59.37500000000001"),
        (RESULT, (KEY, "cd" * 32), f'key: "{KEY}" -> "{"cd" * 32}"'),
        (RESULT, ('"loss": null', '"loss": 0.0'), "facts.loss: null -> 0.0"),
        (RESULT, ('"loss": null', '"lost": null'), "facts.loss: null -> no such field"),
        (RESULT, ('"seconds": 2.5', '"seconds": null'), "seconds: 2.5 -> null"),
        (RESULT, ('"seconds": 2.5', '"second": 2.5'), "seconds: 2.5 -> no such field"),
        (FOUND, ("59.375", "59"), "dense.values[0]: 59.375 -> 59"),
        (FOUND, ("[59.375]", "[59.375, 1]"), "dense.values: 1 entries -> 2 entries"),
        (FOUND, ("59.38", "59.39"), 'notes: ["It scores 59.38 of 100."]'),
        (FOUND, ('["It scores 59.38 of 100."]', "[]"), "notes: "),
        ("search/rows.csv", ("59.375", "59.376"), 'rows[0].score: "59.375" -> "59.376"'),
        ("search/rows.csv", ("name,score", "score,name"), 'columns[0]: "name" -> "score"'),
        ("search/statuses.json", ("0", "2"), "find: 0 -> 2"),
        (RESULT, ('"key": ', '"key":  '), "order or layout of the JSON: "),
    ],
)
def test_a_changed_value_is_noticed(
    after: Path, compare: Compare, file: str, change: tuple[str, str], found: str
) -> None:
    edit(after / file, *change)
    assert compare()[0].startswith(f"{file} at {found}")


@pytest.mark.parametrize("file", [MASK, RESULT, FOUND, "search/report.html"])
def test_a_missing_file_is_noticed_on_either_side(
    before: Path, after: Path, compare: Compare, file: str
) -> None:
    (after / file).unlink()
    assert f"{file}: there -> missing" in compare()
    (before / file).unlink()
    (after / file).write_text("{}")
    assert f"{file}: missing -> there" in compare()


def test_an_empty_folder_is_noticed(after: Path, compare: Compare) -> None:
    (after / "store" / "weights").mkdir()
    assert compare() == ["store/weights/: missing -> there"]


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (RESULT, ('"seconds": 2.5', '"seconds": 2.75')),
        (RESULT, ("1" * 64, "2" * 64)),
        (RESULT, ("1000", "2000")),
        ("search/rows.csv", ("1.0", "2.0")),
        ("search/out/ticket-seed-0/ticket.json", ("tombola 1", "tombola 2")),
        (FOUND, ("It scores", "The score is")),
        (FOUND, (", ", ",\n")),
        ("search/report.html", ("matching", "matches")),
    ],
)
def test_what_may_differ_is_let_pass(
    after: Path, compare: Compare, file: str, change: tuple[str, str]
) -> None:
    edit(after / file, *change)
    assert compare() == []


def test_absolute_paths_of_the_two_runs_are_equal(
    before: Path, after: Path, compare: Compare
) -> None:
    for folder in (before, after):
        write(folder / "search/out/experiment.json", {"data": f"{folder}/inputs"})
    assert compare() == []
    write(after / "search/out/experiment.json", {"data": f"{after}/others"})
    assert len(compare()) == 1


def test_a_parquet_table_differs_by_its_values_but_not_by_seconds(
    before: Path, after: Path, compare: Compare
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(folder: Path, score: float, seconds: float) -> None:
        columns = {"score": [score], "seconds": [seconds]}
        pq.write_table(pa.table(columns), folder / "search/rows.parquet")

    table(before, 59.375, 1.0)
    table(after, 59.375, 2.0)
    assert compare() == []
    table(after, 59.5, 1.0)
    assert compare() == ["search/rows.parquet at rows[0].score: 59.375 -> 59.5"]


def test_the_last_bits_of_an_interval_may_differ_but_no_more(
    before: Path, after: Path, compare: Compare
) -> None:
    def write(folder: Path, end: float, score: float) -> None:
        text = json.dumps({"interval": [end, 1.0], "score": score})
        (folder / "search/verdict.json").write_text(text)

    write(before, 0.1 + 0.2, 0.1 + 0.2)
    write(after, 0.3, 0.1 + 0.2)
    assert compare() == []
    write(after, 0.3001, 0.3)
    first, second = compare()
    assert "interval[0]" in first
    assert "score" in second


def test_a_command_that_fails_on_both_commits_is_no_proof(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from compare_commits import Run, compared

    runs = [Run(folder, {"absolute": {}}) for folder in (before, after)]
    assert not compared(runs[0], runs[1], "search")
    assert capsys.readouterr().out == "search: equal (5 files)\n"
    for folder in (before, after):
        write(folder / "search/statuses.json", {"find": 1})
    assert compared(runs[0], runs[1], "search")
    assert "search: failed (5 files)\n  failed: tombola find" in capsys.readouterr().out
    assert compared(runs[0], runs[1], "nothing")


def test_tickets_of_two_versions_are_equal_if_their_masks_are(
    before: Path, after: Path, compare: Compare
) -> None:
    tickets = Path(__file__).parents[1] / "fixtures" / "tickets"
    for version, folder in ((1, before), (2, after)):
        shutil.copytree(tickets / f"version-{version}", folder / "search/out/ticket-seed-1")
    assert compare() == []
    place = after / "search/out/ticket-seed-1"
    ticket = Ticket.load(place)
    flipped = {name: kept.clone() for name, kept in ticket.mask.items()}
    matrix = flipped["encoder.layer.1.output.dense.weight"]
    matrix[0, :2] = torch.tensor([True, False])
    matrix[1, :2] = torch.tensor([False, True])
    sparsity = shortest_sparsity(Mask(flipped).pruned, ticket.mask.size)
    replace(ticket, mask=Mask(flipped), sparsity=sparsity).save(place)
    assert any("mask.safetensors at the mask: 7ff4425401ec" in line for line in compare())
