"""The verbs that look inside a ticket and between runs, as a user calls them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModel

from command_line import Cli
from report_scripts import without_own_scripts
from ticket_seal import reseal
from tombola import api
from tombola.cli.main import main
from tombola.lab.run.payload import payload_for
from tombola.lab.run.perform import perform
from tombola.lab.run.workspace import WorkspaceCache
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import dense
from tombola.tasks.task import load_task
from tombola.ticket.ticket import Ticket
from tombola.training.steps import ignore_step

PLAN = """\
version: 1
about: Is <this> a plan & is it shown?
model: {model}
seeds: [0, 1]
train: {{epochs: 1, batch_size: 8, train_limit: 16, test_limit: 24, max_length: 24}}
tasks: [sentiment]
arms:
  tickets: {{kind: imp, sparsity: 0.5, step: 0.5}}
  controls: {{kind: control, of: tickets, names: [random]}}
  moved: {{kind: transfer, of: tickets}}
  line: {{kind: connectivity, of: tickets, points: 3, seeds: [0], order_seeds: [0, 1]}}
"""


@pytest.fixture(scope="module")
def tickets(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One-shot tickets of three sparsities."""
    place = tmp_path_factory.mktemp("tickets")
    return [
        api.one_shot(str(tiny), sparsity=each).save(place / each) for each in ("0.3", "0.5", "0.9")
    ]


@pytest.fixture(scope="module")
def planned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan that is done, and its store."""
    place = tmp_path_factory.mktemp("planned")
    (place / "mine.yaml").write_text(PLAN.format(model=tiny))
    assert main(["run", str(place / "mine.yaml"), "--store", str(place / "store")]) == 0
    return place / "mine.yaml", place / "store"


# what works


def test_two_tickets_are_compared_with_chance(cli: Cli, tickets: list[Path]) -> None:
    status, shown, errors = cli("overlap", *tickets[:2], "--json", "overlap.json")
    assert (status, errors) == (0, "")
    found = json.loads(Path("overlap.json").read_text())
    [pair] = found["pairs"]
    masks = [Ticket.load(folder).mask for folder in tickets[:2]]
    assert pair["both"] == masks[0].pruned  # one-shot masks are nested
    assert pair["jaccard"] == masks[0].pruned / masks[1].pruned
    assert pair["chance"] < pair["jaccard"]
    assert f"{pair['jaccard']:.3f}" in shown
    assert f"{pair['chance']:.3f}" in shown
    assert [layer["matrix"] for layer in pair["layers"]] == list(masks[0])
    assert all(name in shown for name in masks[0])
    assert "0 of 4 heads, 0 of 96 neurons" in shown
    assert [mask["dead"] for mask in found["masks"]] == [mask.pruned for mask in masks]


def test_three_tickets_agree_or_not(cli: Cli, tickets: list[Path]) -> None:
    status, shown, _ = cli("overlap", *tickets, "--json", "overlap.json", "--heads", 4)
    found = json.loads(Path("overlap.json").read_text())
    assert status == 0
    assert len(found["pairs"]) == 3
    masks = [Ticket.load(folder).mask for folder in tickets]
    size, dead = masks[0].size, [mask.pruned for mask in masks]
    assert found["agreement"]["weights"] == [
        *(size - dead[2], dead[2] - dead[1], dead[1] - dead[0], dead[0]),
    ]
    assert "by chance" in shown
    assert "of 8 heads" in shown


def test_the_masks_of_a_plan_are_compared(cli: Cli, planned: tuple[Path, Path]) -> None:
    plan, store = planned
    status, shown, errors = cli("overlap", plan, "--store", store, "--json", "overlap.json")
    assert (status, errors) == (0, "")
    found = json.loads(Path("overlap.json").read_text())
    assert [mask["arm"] for mask in found["masks"]].count("controls") == 2
    assert len(found["pairs"]) == 6
    assert "sentiment, seed 0, IMP mask at 0.5" in shown
    chance = [p for p in found["pairs"] if "random" in p["a"] and "random" in p["b"]]
    assert abs(chance[0]["z"]) < 5


def test_lines_of_a_plan_are_shown_and_drawn(cli: Cli, planned: tuple[Path, Path]) -> None:
    plan, store = planned
    status, shown, errors = cli(
        *("connectivity", plan, "--store", store, "--output", "pictures", "--json", "lines.json")
    )
    assert (status, errors) == (0, "")
    [line] = json.loads(Path("lines.json").read_text())
    assert line["orders"] == [0, 1]
    assert f"{line['loss_barrier']:.4f}" in shown
    assert sorted(path.name for path in Path("pictures").iterdir()) == [
        *("connectivity.png", "connectivity.svg"),
    ]


def test_a_plan_has_a_report(cli: Cli, planned: tuple[Path, Path]) -> None:
    plan, store = planned
    status, shown, errors = cli("report", plan, "--store", store)
    assert (status, shown, errors) == (0, "report.html\n", "")
    html = Path("report.html").read_text()
    assert "Arm moved, tickets at 50 %: score minus dense" in html
    for row in Store(store).rows():
        assert row["key"] in html
        if row.get("score") is not None:
            assert f"{row['score']:.2f}" in html
    assert "Is &lt;this&gt; a plan &amp; is it shown?" in html
    for heading in ("Verdicts", "Searches", "Overlap of the masks", "Connectivity", "Numerics"):
        assert f">{heading}</h2>" in html
    html = without_own_scripts(html)
    assert html.count("<svg") == 2
    assert "not done" not in html
    assert set(re.findall(r"https?://[^\s\"'<>)]*", html)) <= {
        *("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"),
    }


def test_a_plan_that_is_not_finished_has_a_report_with_gaps(
    cli: Cli, planned: tuple[Path, Path], tmp_path: Path
) -> None:
    plan, store = planned
    shutil.copytree(store, tmp_path / "less")
    less = Store(tmp_path / "less")
    for row in less.rows(kind="interpolate"):
        less.remove(row["key"])
    for row in less.rows(kind="train"):
        if "seed 1, IMP" in row["label"]:
            less.remove(row["key"])
    assert cli("report", plan, "--store", tmp_path / "less")[0] == 0
    html = Path("report.html").read_text()
    assert "2 of " in html.split("jobs are not done")[0]
    assert "1 of 2 seeds are done" in html
    assert html.count("Nothing is decided on") == 1  # known while it is unfinished, too
    assert html.count("<td>not done</td>") == 2
    status, shown, _ = cli("connectivity", plan, "--store", tmp_path / "less")
    assert (status, "1 of 1 line not done" in shown) == (0, True)


def test_distance_is_of_checkpoints_or_of_weights_that_are_kept(
    cli: Cli, planned: tuple[Path, Path], tiny: Path, tickets: list[Path]
) -> None:
    network = AutoModel.from_pretrained(tiny)
    name = "encoder.layer.1.output.dense.weight"
    network.get_parameter(name).data.mul_(1.5)
    network.save_pretrained("trained")
    status, _, errors = cli("distance", "trained", tiny, "--ticket", tickets[1], "--json", "d.json")
    assert (status, errors) == (0, "")
    found = json.loads(Path("d.json").read_text())["distances"]
    assert found.pop(name) == pytest.approx(0.5)
    assert set(found.values()) == {0.0}
    store = Store(planned[1])
    [row] = [row for row in store.rows(kind="train") if row["label"].endswith("seed 0, dense")]
    status, _, errors = cli("distance", row["key"][:12], tiny, "--store", planned[1])
    assert status == 2
    assert "got none: they go when no job of a plan reads them. Give two checkpoints" in errors


def test_distance_reads_the_weights_of_a_store(
    cli: Cli, tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    task = load_task("sentiment")
    recipe = replace(task.recipe, epochs=1, batch_size=16, learning_rate=1e-2)
    subject = SubjectFactory(tmp_path).subject(
        str(tiny), task, recipe, scope="encoder", folder=str(reviews)
    )
    job = dense(subject, 0)
    payload = payload_for(job, keep_weights=True, threads=1, processes=1)
    perform(payload, Store(Path("store")), WorkspaceCache(), ignore_step)
    status, shown, errors = cli("distance", job.key[:12], tiny, "--store", "store", "--json", "d")
    assert (status, errors) == (0, "")
    found = json.loads(Path("d").read_text())
    assert found["trained"] == "sentiment, seed 0, dense"
    assert all(0 < each < 1 for each in found["distances"].values())
    assert len(found["distances"]) == 12
    assert "encoder.layer.0.attention.self.query.weight" in shown


# what is refused


def test_masks_of_different_models_are_refused_in_one_line(
    cli: Cli, tickets: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tickets[0], other)
    about = json.loads((other / "ticket.json").read_text()) | {"fingerprint": "f" * 64}
    (other / "ticket.json").write_text(json.dumps(about))
    reseal(other)
    status, _, errors = cli("overlap", tickets[0], other)
    assert (status, errors.count("\n")) == (2, 1)
    assert "expected tickets of one network, got " in errors
    assert "(ffffffffffff). Compare tickets that were found in the same network." in errors


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["overlap"], "the following arguments are required: TICKET"),
        (["overlap", "TICKET"], "an overlap takes two or more tickets, or a plan, got one folder."),
        (["overlap", "TICKET", "TICKET"], "expected different tickets, got "),
        (["overlap", "TICKET", "nowhere"], "a ticket is a folder, got nothing at nowhere"),
        (
            ["overlap", "tabel2", "--store", "."],
            "there is no plan 'tabel2'. Did you mean 'table2'?",
        ),
        (["overlap", "table2"], "expected a store at 'runs/store', got nothing."),
        (["overlap", "TICKET", "TICKET", "--haeds", "2"], "there is no flag '--haeds'. Did you"),
        (["overlap", "PLAN", "--store", "STORE", "--sparsity", "0.3"], "got 0 of 0 at 0.3 in"),
        (["overlap", "PLAN", "--store", "STORE", "--sparsity", "70"], "For 70 % write 0.7."),
        (["connectivity", "table2", "--store", "STORE"], "a plan with connectivity arms, got none"),
        (["distance", "f00", "--store", "STORE"], "got 'f00', which fits 0 keys."),
        (["report", "tabel2", "--store", "STORE"], "there is no plan 'tabel2'."),
        (["report"], "the following arguments are required: DIR|PLAN"),
    ],
)
def test_a_mistake_is_one_line(
    cli: Cli,
    tickets: list[Path],
    planned: tuple[Path, Path],
    argv: list[str],
    message: str,
) -> None:
    places = {"TICKET": tickets[0], "PLAN": planned[0], "STORE": planned[1]}
    status, _, errors = cli(*(places.get(word, word) for word in argv))
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not Path("report.html").exists()
