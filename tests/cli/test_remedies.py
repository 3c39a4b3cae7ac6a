"""What a message advises can be done, and a place for results is refused before the first step."""

import json
import shlex
from pathlib import Path

import pytest

from command_line import Cli, find_command
from tombola import api
from tombola.base.errors import OutputError
from tombola.lab.run import runner
from tombola.lab.store.result_store import Store

PLAN = """\
version: 1
model: {model}
tasks: [sentiment]
train: {{epochs: 1, batch_size: 16, learning_rate: 1.0e-2, precision: {precision}}}
arms:
  "tickets [red]": {{kind: imp, rounds: [0.25]}}
  "[/]": {{kind: control, of: "tickets [red]", names: [random], sparsity: 0.25}}
"""


@pytest.fixture
def find(tiny: Path, reviews: Path) -> list[object]:
    return find_command(tiny, reviews)


def suggested(text: str, verb: str) -> list[str]:
    """The arguments of the one command of that verb which a text gives in backquotes."""
    [given] = [part for part in text.split("`")[1::2] if part.startswith(f"tombola {verb} ")]
    return shlex.split(given)[1:]


def test_the_command_that_goes_on_goes_on(
    cli: Cli, tiny: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However odd the names of plan, data and store are."""
    monkeypatch.setattr(runner, "_refuse_unavailable", lambda plan: None)  # so that jobs fail
    plan, data, store = Path("my $plan.yaml"), Path("it's data"), "a store; echo"
    data.mkdir()
    (data / "sentiment").symlink_to(reviews)
    words = ["--data", data, "--store", store]
    plan.write_text(PLAN.format(model=tiny, precision="fp16"))
    status, shown, _ = cli("run", plan, *words, "--threads", 1)
    assert status == 1
    assert "[/]" in shown
    again = suggested(shown, "run")
    assert again == ["run", str(plan), "--data", str(data), "--store", store, "--threads", "1"]
    assert cli(*again)[0] == 1

    said = cli("matching", plan, *words)[2]
    assert suggested(said, "run") == ["run", str(plan), *map(str, words)]
    plan.write_text(PLAN.format(model=tiny, precision="fp32"))
    assert cli(*again)[0] == 0
    status, shown, errors = cli("run", *suggested(said, "run")[1:])
    assert (status, errors) == (0, "")
    assert "0 jobs done" in shown

    key = Store(store).rows()[0]["key"]
    for argv in (["store", "show", "zz"], ["store", "show"], ["distance", "zz"]):
        said = cli(*argv, "--store", store)[2]
        status, shown, _ = cli(*suggested(said, "store"))
        assert status == 0
        assert key[:12] in shown or argv[0] == "distance"


def test_json_without_a_file_takes_none_of_the_other_arguments(cli: Cli, tiny: Path) -> None:
    ticket = api.one_shot(str(tiny), sparsity="0.5").save("ticket")
    Store("kept")
    for argv in (["inspect", "--json", ticket], ["inspect", ticket, "--json"]):
        status, shown, errors = cli(*argv)
        assert (status, errors) == (0, "")
        assert json.loads(shown) == api.inspect(ticket).to_json()
    assert json.loads(cli("store", "--json", "list", "--store", "kept")[1]) == []
    assert "required: TICKET" in cli("inspect", "--json")[2]


def test_a_mistyped_plan_is_named_before_a_store_that_is_not_there(cli: Cli) -> None:
    for verb in ("status", "matching", "connectivity", "report"):
        assert "there is no plan 'quikc'. Did you mean 'quick'?" in cli(verb, "quikc")[2]
        assert "expected a store at" in cli(verb, "quick")[2]


@pytest.mark.parametrize("chore", ["list", "verify", "gc"])
def test_every_chore_of_a_store_has_its_result_as_json(chore: str, cli: Cli) -> None:
    Store("kept")
    status, shown, _ = cli("store", chore, "--store", "kept", "--json", "-")
    assert status == 0
    found = json.loads(shown)
    assert cli("store", chore, "--store", "kept", "--json", "found.json")[0] == 0
    assert json.loads(Path("found.json").read_text()) == found


def refused(cli: Cli, argv: list[object]) -> str:
    before = sorted(Path().rglob("*"))
    status, shown, line = cli(*argv)
    assert (status, shown, line.count("\n")) == (2, "", 1)
    assert sorted(Path().rglob("*")) == before
    return line


@pytest.mark.parametrize("place", ["taken/result", "taken", "sub"])
def test_places_for_results_are_refused_before_anything_is_done(
    place: str, cli: Cli, find: list[object], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the way of a folder, and a folder in the way of a file."""

    def late(*_: object, **__: object) -> None:
        raise AssertionError("too late")

    Path("taken").touch()
    Path("sub").mkdir()
    Path("sub/notes.txt").touch()
    late_calls = ("tombola.api.search.run_plan", "tombola.cli.verbs.table.rows_of")
    for name in (*late_calls, "tombola.api.import_ticket"):
        monkeypatch.setattr(name, late)
    monkeypatch.setattr("tombola.cli.arguments.plan_of", late)
    Store("kept")
    asked: list[list[object]] = [
        [*find, "--output", place],
        ["import", tiny, "--model", tiny, "--output", place],
    ]
    if place != "taken":  # which may be written anew
        asked += [[*find, "--json", place]]
        asked += [["table", "quick", "--store", "kept", "--output", place]]
        asked += [["report", "quick", "--store", "kept", "--output", place]]
        verdicts = ("matching", "leaderboard", "transfer", "claims")
        verbs = ("run", *verdicts, "table", "overlap", "connectivity")
        asked += [[verb, "quick", "--store", "kept", "--json", place] for verb in verbs]
    if place != "sub":
        asked += [["connectivity", "quick", "--store", "kept", "--output", place]]
        asked += [["leaderboard", "quick", "--store", "kept", "--output", place]]
    for argv in asked:
        assert refused(cli, argv)


def test_a_full_disk_at_the_end_costs_no_training(
    cli: Cli, find: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("expected to write out/result.json, got: No space left on device.")

    with monkeypatch.context() as patch:
        patch.setattr("tombola.api.search_output.write_file", full)
        status, _, line = cli(*find, "--output", "out")
    assert (status, line.count("\n")) == (2, 1)
    assert "Every training is kept in 'runs/store'" in line
    status, shown, _ = cli(*find, "--output", "elsewhere")
    assert status == 0
    assert "reused from the store: 2 trainings" in shown
    assert json.loads(Path("elsewhere/result.json").read_text())["output"] == "elsewhere"


def test_a_device_as_a_file_stays_a_device(cli: Cli, tiny: Path) -> None:
    ticket = api.one_shot(str(tiny), sparsity="0.5").save("ticket")
    assert cli("inspect", ticket, "--json", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    Path("there.json").touch()
    Path("link.json").symlink_to("there.json")
    assert cli("inspect", ticket, "--json", "link.json")[0] == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("there.json").read_text()) == api.inspect(ticket).to_json()
