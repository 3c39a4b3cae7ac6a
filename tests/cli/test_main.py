"""Every mistake is one line on stderr and exit status 2, and leaves nothing behind."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from ticket_seal import reseal
from tombola import __version__, api
from tombola.base.errors import OutputError
from tombola.base.files import write_file
from tombola.base.specs import SEEDS, FindSpec, TrainSpec
from tombola.cli import verbs
from tombola.cli.main import VERBS, main
from tombola.cli.show.progress import Live
from tombola.lab.store.result_store import Store
from tombola.models import embedded
from tombola.plan.job import Job
from tombola.ticket.ticket import Ticket

RECIPE = "--epochs 1 --batch-size 16 --learning-rate 1e-2".split()
SEARCH = "--sparsity 0.25 --step 0.25 --controls none".split()


@pytest.fixture(scope="module")
def find(tiny: Path, reviews: Path) -> list[object]:
    return ["find", "--model", tiny, "--data", reviews, *RECIPE, *SEARCH]


@pytest.fixture(scope="module")
def ticket(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    one_shot = api.one_shot(str(tiny), sparsity="0.5")
    return one_shot.save(tmp_path_factory.mktemp("tickets") / "mine")


def refusal(answer: tuple[int, str, str]) -> str:
    """The one line of an error."""
    status, _, line = answer
    assert status == 2
    assert line.startswith("tombola: ")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    return line.removeprefix("tombola: ").rstrip("\n")


def left() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


# what works


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "tombola", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert __version__ in said.stdout


def test_a_ticket_is_found_evaluated_and_inspected(
    cli: Cli, find: list[object], reviews: Path
) -> None:
    status, shown, errors = cli(*find, "--output", "out", "--json", "found.json")
    assert (status, errors) == (0, "")
    result = json.loads(Path("found.json").read_text())
    assert result == json.loads(Path("out/result.json").read_text())
    assert result["verdict"]["sentence"] in shown
    assert "sentiment, seed 0, IMP at 0.25" in shown
    assert "IMP ticket" in shown
    for note in result["notes"]:
        assert note in shown
    example = shown[shown.index("import tombola\n") :]
    compile(example, "example", "exec")
    assert f"tombola.Ticket.load({result['ticket']!r}).apply(model)" in example

    seeds = ["--seeds", "7,8", "--data", reviews, *RECIPE]
    status, shown, errors = cli("evaluate", result["ticket"], *seeds, "--json", "evaluated.json")
    assert (status, errors) == (0, "")
    evaluated = json.loads(Path("evaluated.json").read_text())
    assert evaluated["verdict"]["sentence"] in shown
    assert evaluated["output"] == f"runs/evaluate-sentiment-{evaluated['key'][:8]}"
    assert len(evaluated["scores"]["values"]) == 2

    status, shown, errors = cli("inspect", result["ticket"])
    assert (status, errors) == (0, "")
    assert Ticket.load(result["ticket"]).fingerprint in shown
    assert "encoder.layer.1.output.dense.weight" in shown
    status, shown, _ = cli("inspect", result["ticket"], "--json")
    assert status == 0
    assert json.loads(shown) == api.inspect(result["ticket"])


def test_a_configuration_file_is_a_command(cli: Cli, find: list[object], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    names = [str(flag).removeprefix("--") for flag in find[1::2]]
    lines = [f"{name}: {value}" for name, value in zip(names, find[2::2], strict=True)]
    file.write_text("\n".join([*lines, "epochs: 2"]).replace("epochs: 1\n", ""))
    status, _, errors = cli("find", "--config", file, "--epochs", "1", "--output", "out")
    assert (status, errors) == (0, "")
    status, shown, _ = cli(*find, "--output", "out")
    assert status == 0
    assert "trainings kept from before: 2" in shown


def test_the_same_command_continues_after_control_c(
    cli: Cli, find: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = Live.step, []

    def stop(self: Live, job: Job, count: int, steps: int) -> None:
        step(self, job, count, steps)
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Live, "step", stop)
    status, shown, errors = cli(*find, "--output", "out")
    assert status == 130
    assert errors == (
        "tombola: stopped. Finished jobs are kept; run the same command to continue.\n"
    )
    assert "sentiment, seed 0, dense" in shown
    assert not Path("out").exists()
    assert [row["kind"] for row in Store("runs/store").rows()].count("train") == 1
    status, shown, errors = cli(*find, "--output", "out")
    assert (status, errors) == (0, "")
    assert "trainings kept from before: 1" in shown
    assert len(done) == 5 + 3
    assert Path("out/result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_exit_status_names_the_signal_whatever_a_library_makes_of_it(
    number: signal.Signals, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
            time.sleep(60)
        raise KeyboardInterrupt  # as Ray's wait does

    monkeypatch.setattr(api, "inspect", stopped)
    with_default = signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    try:
        assert cli("inspect", "ticket") == (128 + number, "", "tombola: stopped.\n")
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, with_default)


def test_tasks_and_models_are_listed(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, shown, errors = cli("tasks")
    assert (status, errors) == (0, "")
    for name in ("sentiment", "valence", "supersense", "gloss-match", "gloss-span", "mlm"):
        assert name in shown
    for name in (*("mnli qqp stsb wnli qnli mrpc rte sst2 cola".split()), "squad", "wikipedia-mlm"):
        assert name in shown
    assert "7477/592/1992" in shown
    assert "392702/9815" in shown
    monkeypatch.setitem(embedded.EMBEDDED, "mini", tiny)
    status, shown, errors = cli("models")
    assert (status, errors) == (0, "")
    assert "2 layers of 32, bert" in shown


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_without_a_verb_the_verbs_are_listed(argv: tuple[str, ...], cli: Cli) -> None:
    status, shown, errors = cli(*argv)
    assert (status, errors) == (0, "")
    for verb, (_, about) in VERBS.items():
        assert f"{verb:14}{about}" in shown


def test_every_verb_is_in_the_file_that_the_overview_names() -> None:
    found = [
        (verb, path.stem)
        for path in Path(verbs.__path__[0]).glob("[!_]*.py")
        for verb in import_module(f"{verbs.__name__}.{path.stem}").VERBS
    ]
    assert sorted(found) == sorted((verb, about.file) for verb, about in VERBS.items())


def test_the_version_is_printed(cli: Cli) -> None:
    assert cli("--version") == (0, f"tombola {__version__}\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    shown, errors = capsys.readouterr()
    assert (done.value.code, errors) == (0, "")
    assert f"usage: tombola {verb}" in shown
    if verb == "find":
        for name in {*FindSpec.__dataclass_fields__, *TrainSpec.__dataclass_fields__} - {*SEEDS}:
            assert f"--{name.replace('_', '-')} " in shown


def test_a_bug_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(api, "inspect", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli("inspect", "ticket")


# mistakes


MISTAKES: list[tuple[list[str], str]] = [
    (["--sparsity", "70"], "sparsity is a fraction in [0, 1), got 70. For 70 % write 0.7."),
    (["--sparsity", "1.0"], "sparsity is a fraction in [0, 1), got 1.0."),
    (["--sparsity", "-0.1"], "sparsity is a fraction in [0, 1), got -0.1."),
    (["--sparsity", "nan"], "sparsity is a fraction in [0, 1), got 'nan'."),
    (["--sparsity", "0"], "sparsity is above 0 in a search, got 0. For 70 % write 0.7."),
    (["--step", "0.0001"], "a path has at most 1000 rounds"),
    (["--epochs", "inf"], "epochs is a positive number, got inf."),
    (["--task", "sentimnt"], "there is no task 'sentimnt'. Did you mean 'sentiment'?"),
    (["--model", "minni"], "there is no model 'minni'. Did you mean 'mini'?"),
    (["--model", "nowhere/at/all"], "'nowhere/at/all' is neither embedded (mini) nor a folder"),
    (["--model", "/nowhere"], "expected a model folder, got nothing at '/nowhere'."),
    (["--model", "."], "expected a model folder with config.json, got '.' without one."),
    (["--controls", "radnom"], "there is no control 'radnom'. Did you mean 'random'?"),
    (["--schedule", "liner"], "there is no schedule 'liner'. Did you mean 'linear'?"),
    (["--scope", "encodre"], "there is no scope 'encodre'. Did you mean 'encoder'?"),
    (["--precision", "fp64"], "precision is fp32, bf16 or fp16, got 'fp64'."),
    (["--seeds", "1,1"], "seeds are different whole numbers from 0, got (1, 1)."),
    (["--seeds", "one"], "expected whole numbers with commas between"),
    (["--sparsty", "0.5"], "there is no flag '--sparsty'. Did you mean '--sparsity'?"),
    (["--spars", "0.5"], "there is no flag '--spars'. Did you mean '--sparsity'?"),
    (["--data", "nowhere"], "text files in 'nowhere', found no data files. Check the path."),
    (["--config", "nowhere"], "expected a YAML file as --config, got 'nowhere'"),
    (["--config"], "expected one argument"),
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
    (["run", "quick", "--workers", "-1"], "workers is zero or more, got -1."),
    (["run", "glue-table2"], "expected the data set 'hub:nyu-mll/glue/mnli' on the hub"),
    (["status", "quick"], "expected a store at 'runs/store', got nothing. Name one with --store."),
    (["store", "list"], "expected a store at 'runs/store', got nothing. Name one with --store."),
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


def test_a_mistyped_verb_is_answered_with_the_nearest(cli: Cli) -> None:
    assert refusal(cli("fnid")) == "there is no verb 'fnid'. Did you mean 'find'?"
    assert refusal(cli("xyz")).startswith(
        "there is no verb 'xyz'. There are: claims, connectivity, "
    )
    assert "the following arguments are required: TICKET" in refusal(cli("inspect"))


def test_an_output_that_holds_something_else_is_left_alone(cli: Cli, find: list[object]) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    said = refusal(cli(*find, "--output", "out"))
    assert said == "'out' holds something else. Name an empty or a new folder as --output."
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


def test_a_plan_is_run_on_a_folder_of_data_and_its_status_shown(
    cli: Cli, tiny: Path, reviews: Path
) -> None:
    plan = Path("mine.yaml")
    plan.write_text(
        f"version: 1\nmodel: {tiny}\ntasks: [sentiment]\n"
        "train: {epochs: 1, batch_size: 16, learning_rate: 1.0e-2}\n"
        "arms:\n  tickets: {kind: imp, rounds: [0.25]}\n"
    )
    words = (plan, "--data", reviews, "--store", "kept")
    assert "for each task in 'nowhere' (sentiment)" in refusal(
        cli("run", plan, "--data", "nowhere")
    )
    status, shown, errors = cli("run", *words)
    assert (status, errors) == (0, "")
    assert "3 jobs done in " in shown
    assert ", 0 kept from before" in shown
    assert "tickets" in shown
    status, shown, _ = cli("status", *words)
    assert status == 0
    assert shown.endswith("3 of 3 jobs are done, 0 running\n")
    plan.write_text(plan.read_text().replace("[0.25]", "[0.25, 0.5]"))
    assert "of 5 jobs are done, 0 running, about " in cli("status", *words)[1]
    plan.write_text(plan.read_text().replace("[sentiment]", f"{{sentiment: {{data: {reviews}}}}}"))
    assert "of 5 jobs are done" in cli("status", plan, "--store", "kept")[1]


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


@pytest.mark.parametrize("verb", [["tasks"], ["store", "list", "--json"]])
def test_a_reader_that_has_gone_gets_no_traceback(tmp_path: Path, verb: list[str]) -> None:
    Store(tmp_path / "runs/store")
    command = [sys.executable, "-m", "tombola", *verb]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 1)


@pytest.mark.parametrize("place", [".", "/"])
def test_a_file_without_a_name_is_refused(place: str) -> None:
    with pytest.raises(OutputError, match=f"expected the name of a file, got {place!r}"):
        write_file(place, "text")
