"""Every mistake is one line on stderr and exit status 2, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli, find_command, refusal
from ticket_seal import reseal
from tombola import api


@pytest.fixture(scope="module")
def find(tiny: Path, reviews: Path) -> list[object]:
    return find_command(tiny, reviews)


@pytest.fixture(scope="module")
def ticket(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    one_shot = api.one_shot(str(tiny), sparsity="0.5")
    return one_shot.save(tmp_path_factory.mktemp("tickets") / "mine")


def left() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


MISTAKES: list[tuple[list[str], str]] = [
    (["--sparsity", "70"], "sparsity must be at least 0 and below 1, got 70. For 70 % write 0.7."),
    (["--sparsity", "1.0"], "sparsity must be at least 0 and below 1, got 1.0."),
    (["--sparsity", "-0.1"], "sparsity must be at least 0 and below 1, got -0.1."),
    (["--sparsity", "nan"], "sparsity must be at least 0 and below 1, got 'nan'."),
    (["--sparsity", "0"], "sparsity must be above 0 in a search, got 0. For 70 % write 0.7."),
    (["--step", "0.0001"], "a path has at most 1000 rounds"),
    (["--epochs", "inf"], "epochs must be above 0, got inf."),
    (["--batch-size", "0"], "--batch-size must be above 0, got 0."),
    (["--rewind-step", "3", "--no-rewind"], "--no-rewind trains all weights further, and --rewind"),
    (["--structure", "3:2"], "in a structure N:M, N must be below M, got 3:2."),
    (["--ray-address", "a:1"], "--ray-address is for --engine ray, got --engine local."),
    (["--task", "sentimnt"], "there is no task 'sentimnt'. Did you mean 'sentiment'?"),
    (["--model", "minni"], "there is no model 'minni'. Did you mean 'mini'?"),
    (["--model", "nowhere/at/all"], "'nowhere/at/all' is neither embedded (mini) nor a folder"),
    (["--model", "/nowhere"], "expected a model folder, got nothing at '/nowhere'."),
    (["--model", "."], "expected a model folder with config.json, got '.' without one."),
    (["--controls", "radnom"], "there is no control 'radnom'. Did you mean 'random'?"),
    (["--schedule", "liner"], "there is no schedule 'liner'. Did you mean 'linear'?"),
    (["--scope", "encodre"], "there is no scope 'encodre'. Did you mean 'encoder'?"),
    (["--precision", "fp64"], "precision must be fp32, bf16, fp16 or auto, got 'fp64'."),
    (["--seeds", "1,1"], "seeds must be distinct integers of 0 or more, got (1, 1)."),
    (["--seeds", "one"], "expected whole numbers with commas between"),
    (["--sparsty", "0.5"], "there is no flag '--sparsty'. Did you mean '--sparsity'?"),
    (["--spars", "0.5"], "there is no flag '--spars'. Did you mean '--sparsity'?"),
    (["--data", "nowhere"], "text files in 'nowhere', found no data files. Check the path."),
    (["--config", "nowhere"], "expected a YAML file as --config, got 'nowhere'"),
    (["--config"], "expected one argument"),
    (["--config=a", "--config", "b"], "expected one --config, got 'a' and 'b'. Put all flags into"),
    (["more"], "expected flags, got 'more'."),
]


@pytest.mark.parametrize(("flags", "message"), MISTAKES, ids=lambda value: "".join(value)[:25])
def test_a_mistake_is_one_line_and_leaves_nothing(
    flags: list[str], message: str, cli: Cli, find: list[object]
) -> None:
    assert message in refusal(cli(*find, *flags))
    assert left() == []


def test_a_file_in_the_place_of_a_folder_is_refused(cli: Cli, find: list[object]) -> None:
    Path("taken").touch()
    said = refusal(cli(*find, "--json", "taken/found.json"))
    assert said.startswith("expected to write taken/found.json, got: ")


LAB_MISTAKES: list[tuple[list[str], str]] = [
    (["run", "tabel2"], "there is no plan 'tabel2'. Did you mean 'table2'?"),
    (["run", "nowhere/plan.yaml"], "expected a plan file, got 'nowhere/plan.yaml'"),
    (["run", "quick", "--engine", "rya"], "there is no engine 'rya'. Did you mean 'ray'?"),
    (["run", "quick", "--workers", "-1"], "workers must be 0 or more, got -1."),
    (["run", "glue-table2"], "expected the data set 'hub:nyu-mll/glue/mnli' on the hub"),
    (
        ["status", "quick"],
        "expected a store at 'runs/store', got nothing. Pass its folder as --store.",
    ),
    (
        ["store", "list"],
        "expected a store at 'runs/store', got nothing. Pass its folder as --store.",
    ),
    (["store"], "the following arguments are required: list|show|verify|gc|forget. See"),
    (["report", "nowhere"], "'nowhere' is not a search folder, a table of runs or a plan."),
    (["report", "tabel2"], "there is no plan 'tabel2'. Did you mean 'table2'?"),
    (["bench", "nowhere"], "expected a ticket or a trained network, got nothing at 'nowhere'."),
    (["store", "gc", "--dry-run"], "expected no --dry-run after `store gc`, got one. Leave it out"),
    (["store", "gc", "a1"], "no KEY after `store gc`, got 'a1'. Leave it out: KEY is for show and"),
    (["store", "verify", "--kind", "x"], "expected no --kind after `store verify`, got one."),
    (["store", "list", "--dependants"], "--dependants is for forget."),
    (["store", "list", "--numerics", ""], "expected no --numerics after `store list`"),
    (["store", "lsit"], "there is no store action 'lsit'. Did you mean 'list'?"),
]


@pytest.mark.parametrize(
    ("argv", "message"), LAB_MISTAKES, ids=[" ".join(a) for a, _ in LAB_MISTAKES]
)
def test_a_mistake_in_the_laboratory_is_one_line_and_leaves_nothing(
    argv: list[str], message: str, cli: Cli
) -> None:
    assert message in refusal(cli(*argv))
    assert left() == []


def test_an_empty_folder_is_no_store_and_stays_empty(cli: Cli) -> None:
    Path("empty").mkdir()
    for verb in (("store", "list"), ("status", "quick")):
        said = refusal(cli(*verb, "--store", "empty"))
        assert said.startswith("expected a store at 'empty', got an empty folder.")
    assert left() == ["empty"]


def test_a_precision_that_the_device_lacks_is_refused_before_any_training(
    cli: Cli, find: list[object]
) -> None:
    status, _, errors = cli(*find, "--precision", "fp16")
    assert status == 2
    assert errors == "tombola: precision fp16 needs a CUDA device, got cpu. Use bf16 or fp32.\n"


def test_a_configuration_names_no_other(cli: Cli, find: list[object]) -> None:
    Path("search.yaml").write_text("config: other.yaml\n")
    said = refusal(cli(*find, "--config", "search.yaml"))
    assert said == "search.yaml: a configuration can't name another. Remove `config`."


def test_a_mistyped_verb_is_answered_with_the_nearest(cli: Cli) -> None:
    assert refusal(cli("fnid")) == "there is no verb 'fnid'. Did you mean 'find'?"
    assert refusal(cli("xyz")).startswith("there is no verb 'xyz'. There are: bench, claims, ")
    assert "the following arguments are required: TICKET" in refusal(cli("inspect"))


def test_an_output_that_holds_something_else_is_left_alone(cli: Cli, find: list[object]) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    said = refusal(cli(*find, "--output", "out"))
    assert said == "'out' holds something else. Pass an empty or new folder as --output."
    assert refusal(cli(*find, "--output", "out/notes.txt")).startswith("'out/notes.txt' holds")
    assert left() == ["out", "out/notes.txt"]
    assert Path("out/notes.txt").read_text() == "mine"


def newer(folder: Path) -> None:
    document = json.loads((folder / "ticket.json").read_text())
    (folder / "ticket.json").write_text(json.dumps(document | {"version": 99}))


def truncated(folder: Path) -> None:
    content = (folder / "mask.safetensors").read_bytes()
    (folder / "mask.safetensors").write_bytes(content[:-7])


def damaged(folder: Path) -> None:
    content = bytearray((folder / "mask.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "mask.safetensors").write_bytes(content)


def cut(folder: Path) -> None:
    content = (folder / "ticket.json").read_bytes()
    (folder / "ticket.json").write_bytes(content[: len(content) // 2])


ATTACKS: list[tuple[Callable[[Path], Any], str]] = [
    (newer, "expected a ticket of format version 2, got 99. Upgrade tombola."),
    (truncated, "expected mask.safetensors with the SHA-256 "),
    (damaged, "expected mask.safetensors with the SHA-256 "),
    (cut, "expected JSON in"),
    (lambda folder: (folder / "ticket.json").unlink(), "expected a ticket with ticket.json"),
    (shutil.rmtree, "a ticket is a folder, got nothing at"),
]


@pytest.mark.parametrize(("attack", "message"), ATTACKS, ids=[m[:20] for _, m in ATTACKS])
def test_a_ticket_that_is_damaged_is_one_line_and_leaves_nothing(
    attack: Callable[[Path], Any], message: str, cli: Cli, ticket: Path, tmp_path: Path
) -> None:
    shutil.copytree(ticket, tmp_path / "ticket")
    attack(tmp_path / "ticket")
    for verb in ("inspect", "evaluate"):
        assert message in refusal(cli(verb, tmp_path / "ticket"))
    assert left() == []


def test_a_ticket_whose_network_is_gone_is_refused(
    cli: Cli, ticket: Path, tmp_path: Path, reviews: Path
) -> None:
    shutil.copytree(ticket, tmp_path / "ticket")
    file = tmp_path / "ticket" / "ticket.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": str(tmp_path / "gone")}))
    reseal(tmp_path / "ticket")
    said = refusal(cli("evaluate", tmp_path / "ticket", "--data", reviews))
    assert said.startswith("expected a model folder, got nothing at ")
    assert left() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ACCELERATE_USE_FSDP", "true", "got FSDP (ACCELERATE_USE_FSDP=true)"),
        ("ACCELERATE_USE_DEEPSPEED", "True", "got DeepSpeed (ACCELERATE_USE_DEEPSPEED=True)"),
        ("ACCELERATE_USE_MEGATRON_LM", "1", "got Megatron-LM (ACCELERATE_USE_MEGATRON_LM=1)"),
        (
            "WORLD_SIZE",
            "3",
            "got WORLD_SIZE=3 from torchrun or accelerate. Start it",
        ),
    ],
)
def test_a_launcher_that_wants_anything_but_one_process_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    for words in (["find"], ["run", "quick"], ["evaluate", "nowhere"]):
        assert expected in refusal(cli(*words))
    assert cli("tasks")[0] == 0
    assert not list(Path().iterdir())
