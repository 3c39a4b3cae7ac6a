"""Every verb does what its line says, and stops when it is asked to."""

import contextlib
import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from command_line import RECIPE, Cli, find_command, refusal
from tombola import __version__, api
from tombola.base.specs import SEEDS, FindSpec, TrainSpec
from tombola.cli import verbs, versions
from tombola.cli.main import HEADINGS, TRAIN, VERBS, main
from tombola.cli.parser import Parser
from tombola.kernel import processor
from tombola.lab.progress.bar import ProgressBar
from tombola.lab.store.result_store import Store
from tombola.models import embedded
from tombola.plan.job import Job
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket


@pytest.fixture(scope="module")
def find(tiny: Path, reviews: Path) -> list[object]:
    return find_command(tiny, reviews)


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "tombola", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert __version__ in said.stdout


def assert_ticket_survives_training(example: str) -> None:
    """The example that a search prints, with a step of training where it says so."""

    def train(model: torch.nn.Module) -> None:
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.tensor([[1, 2, 3]])).last_hidden_state[..., 0].sum().backward()
        optimizer.step()

    names: dict[str, Any] = {"train": train}
    exec(example.replace("...", "train(model)"), names)
    weights = scope_parameters(names["model"], "encoder")
    mask = names["ticket"].mask
    assert not any(weights[name][~mask[name]].any() for name in weights)


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
    assert_ticket_survives_training(example)

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
    assert json.loads(shown) == api.inspect(result["ticket"]).to_json()


def test_a_configuration_file_is_a_command(cli: Cli, find: list[object], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    names = [str(flag).removeprefix("--") for flag in find[1::2]]
    lines = [f"{name}: {value}" for name, value in zip(names, find[2::2], strict=True)]
    file.write_text("\n".join([*lines, "epochs: 2"]).replace("epochs: 1\n", ""))
    status, _, errors = cli("find", "--config", file, "--epochs", "1", "--output", "out")
    assert (status, errors) == (0, "")
    status, shown, _ = cli(*find, "--output", "out")
    assert status == 0
    assert "reused from the store: 2 trainings" in shown


def test_the_same_command_continues_after_control_c(
    cli: Cli, find: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = ProgressBar.on_job_step, []

    def stop(self: ProgressBar, job: Job, count: int, steps: int, loss: float | None) -> None:
        step(self, job, count, steps, loss)
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "on_job_step", stop)
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
    assert "reused from the store: 1 training\n" in shown
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
    assert [line for line in shown.splitlines() if line.endswith(":")] == [
        f"{heading}:" for heading in HEADINGS.values()
    ]


def test_every_verb_is_in_the_file_that_the_overview_names() -> None:
    found = [
        (verb, path.stem)
        for path in Path(verbs.__path__[0]).glob("[!_]*.py")
        for verb in import_module(f"{verbs.__name__}.{path.stem}").VERBS
    ]
    assert sorted(found) == sorted((verb, about.file) for verb, about in VERBS.items())


def test_every_verb_that_runs_jobs_says_that_they_are_kept() -> None:
    trains = []
    for verb, about in VERBS.items():
        parser = Parser(f"tombola {verb}", "")
        import_module(f"{verbs.__name__}.{about.file}").VERBS[verb].flags(parser)
        trains += [verb] * ("--workers" in parser.flags())
    assert sorted(TRAIN) == sorted(trains)


def test_the_version_is_the_first_line_and_others_follow_by_name(cli: Cli) -> None:
    status, shown, errors = cli("--version")
    assert (status, errors) == (0, "")
    first, *others = shown.splitlines()
    assert first == f"tombola {__version__}"
    found = dict(line.split(" ", 1) for line in others)
    assert found["Python"] == platform.python_version()
    for package in ("torch", "transformers", "numpy", "safetensors"):
        assert found[package] == metadata.version(package)
    assert platform.machine() in found[platform.system()]


def test_the_instruction_set_is_that_of_torch_and_what_is_unknown_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "package_version", lambda package: None)
    plain = list(versions.versions())
    assert [line.split()[0] for line in plain] == ["tombola", "Python", platform.system()]
    capability = torch.backends.cpu.get_cpu_capability()
    if processor.CPUINFO.exists() and capability in versions.INSTRUCTION_SETS:
        assert plain[-1].endswith(f" {capability}")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(versions, "DRIVER", tmp_path / "nothing")
    assert list(versions.versions())[-1].endswith(platform.machine())
    driver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC\n"
    (tmp_path / "driver").write_text(driver + "GCC version:  gcc version 12.3.0 (Ubuntu)\n")
    monkeypatch.setattr(versions, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(versions, "package_version", {"nvidia-cuda-runtime-cu12": "12.6.77"}.get)
    assert list(versions.versions())[-2:] == ["CUDA 12.6.77", "NVIDIA-driver 550.54.15"]


def test_the_versions_import_no_package() -> None:
    script = (
        "import sys; from tombola.cli.main import main; assert main(['--version']) == 0; "
        "assert not {'torch', 'numpy', 'transformers', 'rich', 'yaml'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


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


@pytest.mark.parametrize(
    "bug", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "a bug", "x"), OSError("a bug")]
)
def test_a_bug_keeps_its_traceback(
    bug: Exception, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise bug

    monkeypatch.setattr(api, "inspect", fail)
    with pytest.raises(type(bug), match="a bug"):
        cli("inspect", "ticket")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Permission denied. Change its permissions, or use another."),
        (errno.ENAMETOOLONG, "File name too long. Use a shorter name."),
        (errno.ENOSPC, "No space left on device. Free some space, or use another place."),
        (errno.EROFS, "Read-only file system. Choose a place that can be written to."),
        (errno.EIO, "Input/output error. Check the disk, or use another place."),
        (errno.EMFILE, "Too many open files. Raise the limit with `ulimit -n`."),
    ],
)
def test_a_file_that_the_system_refuses_is_one_line(
    number: int, remedy: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "runs.csv")

    Path("runs.csv").touch()
    monkeypatch.setattr(Path, "open", refuse)
    said = refusal(cli("matching", "runs.csv"))
    assert said == f"expected to read or write 'runs.csv', got: {remedy}"


def test_the_name_of_a_file_that_is_too_long_is_cut(cli: Cli) -> None:
    said = refusal(cli("matching", f"{'x' * 300}.csv"))
    assert said.endswith("x…', got: File name too long. Use a shorter name.")
    assert len(said) < 160


def test_too_many_open_files_need_no_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(api, "inspect", refuse)
    said = refusal(cli("inspect", "ticket"))
    assert said.startswith("expected to read or write a file, got: Too many open files. Raise")


def test_a_plan_is_run_on_a_folder_of_data_and_its_status_shown(
    cli: Cli, tiny: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
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
    assert ", 0 reused from the store" in shown
    assert "tickets" in shown
    status, shown, _ = cli("status", *words)
    assert status == 0
    assert shown.endswith("3 of 3 jobs are done, 0 running\n")
    plan.write_text(plan.read_text().replace("[0.25]", "[0.25, 0.5]"))
    assert "of 5 jobs are done, 0 running, about " in cli("status", *words)[1]
    with monkeypatch.context() as patched:
        clock = SimpleNamespace(sleep=lambda _: cli("run", *words), monotonic=time.monotonic)
        patched.setattr("tombola.cli.verbs.plans.time", clock)
        status, shown, _ = cli("status", *words, "--watch")
    assert status == 0
    assert shown.endswith("5 of 5 jobs are done, 0 running\n")
    plan.write_text(plan.read_text().replace("[sentiment]", f"{{sentiment: {{data: {reviews}}}}}"))
    assert "of 5 jobs are done" in cli("status", plan, "--store", "kept")[1]
