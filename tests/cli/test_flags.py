"""Flags are the specs' fields, and every mistake is one line with the nearest name."""

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import SpecError
from tombola.base.fields import field_help
from tombola.base.specs import SEEDS, EvaluateSpec, FindSpec, LabSpec, PruneSpec, TrainSpec
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser
from tombola.finders.imp import ImpSpec
from tombola.finders.rewind import RewindSpec


def parser() -> Parser:
    made = Parser("tombola find", "Find.")
    add_flags(made, FindSpec)
    add_flags(made, ImpSpec)
    add_flags(made, TrainSpec, leave_out=SEEDS, default="the task's recipe")
    made.add_argument("--config", metavar="FILE")
    return made


def read(*argv: str) -> dict[str, Any]:
    options = vars(parser().read(argv))
    del options["config"]
    return options


def refusal(*argv: str) -> str:
    with pytest.raises(SpecError) as caught:
        parser().read(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def config(tmp_path: Path, text: str) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return f"--config={file}"


@pytest.mark.parametrize("spec", [FindSpec, ImpSpec, TrainSpec, EvaluateSpec, LabSpec])
def test_every_field_has_a_flag_with_its_help(spec: type) -> None:
    made = Parser("tombola", "")
    add_flags(made, spec)
    actions = {action.dest: action for action in made._actions}
    about = field_help(spec)
    for field in dataclasses.fields(spec):
        assert len(about[field.name]) > 10
        action = actions[field.name]
        assert action.option_strings == [f"--{field.name.replace('_', '-')}"]
        assert str(action.help).replace("%%", "%").startswith(about[field.name].rstrip("."))


def test_the_help_says_the_default_or_where_it_comes_from() -> None:
    text = " ".join(parser().format_help().split())
    assert "in [0, 1) (default: 0.7)" in text
    assert "mask (default: 0)" in text
    assert "(default: random,layer-random,one-shot,reinit,shuffle)" in text
    assert "linearly to zero (default: the task's recipe)" in text


def test_no_name_is_broken_at_its_hyphen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert all(not line.endswith("-") for line in parser().format_help().splitlines())


def test_a_usage_line_names_few_flags_and_those_that_are_required() -> None:
    few = Parser("tombola push", "")
    few.add_argument("--public", action="store_true")
    few.add_argument("ticket", metavar="TICKET")
    assert few.format_usage() == "usage: tombola push [-h] [--public] TICKET\n"
    many = parser()
    many.add_argument("--output", metavar="FILE", required=True)
    many.add_argument("ticket", metavar="TICKET")
    assert many.format_usage() == "usage: tombola find --output FILE [flags] TICKET\n"


def test_inherited_fields_have_flags_after_a_spec_s_own() -> None:
    about = list(field_help(RewindSpec))
    assert sorted(about) == sorted(field.name for field in dataclasses.fields(RewindSpec))
    assert about[0] == "schedule"
    assert about[-len(field_help(PruneSpec)) :] == list(field_help(PruneSpec))


def test_a_knob_that_is_on_or_off_has_a_flag_without_a_value() -> None:
    assert read("--no-rewind", "--prune-first") == {"no_rewind": True, "prune_first": True}
    assert "--no-rewind Never rewind" in " ".join(parser().format_help().split())
    assert "(standard pruning) --keep-head" in " ".join(parser().format_help().split())
    assert "ignored explicit argument 'yes'" in refusal("--no-rewind=yes")


def test_a_configuration_file_turns_such_a_knob_on_or_leaves_it_off(tmp_path: Path) -> None:
    assert read(config(tmp_path, "no-rewind: true\nkeep_head: no")) == {"no_rewind": True}
    said = refusal(config(tmp_path, "no-rewind: 3"))
    assert said.endswith("config.yaml: --no-rewind must be true or false, got 3.")


def test_flags_that_are_not_given_are_left_out() -> None:
    assert read() == {}
    assert read("--epochs", "2", "--task=mlm") == {"epochs": 2.0, "task": "mlm"}


def test_values_get_the_types_of_their_fields() -> None:
    options = read(
        *("--seeds", "0,1,2", "--controls", "random,reinit", "--sparsity", "0.70"),
        *("--batch-size", "8", "--learning-rate", "1e-3"),
    )
    assert options == {
        "seeds": (0, 1, 2),
        "controls": ("random", "reinit"),
        "sparsity": "0.70",
        "batch_size": 8,
        "learning_rate": 0.001,
    }
    assert ImpSpec(sparsity=options["sparsity"]).sparsity == Decimal("0.7")


def test_none_is_the_empty_list_of_names() -> None:
    assert read("--controls", "none") == {"controls": ()}


@pytest.mark.parametrize("flag", ["--spars", "--sparsty", "--sparsty=0.5", "--sparsitys"])
def test_there_are_no_abbreviations_and_a_mistyped_flag_is_met_with_the_nearest(flag: str) -> None:
    name = flag.split("=", maxsplit=1)[0]
    assert refusal(flag) == f"there is no flag '{name}'. Did you mean '--sparsity'?"


@pytest.mark.parametrize("flag", ["--device", "--cuda", "--x", "-o"])
def test_an_unknown_flag_that_is_near_to_none_is_met_with_the_help(flag: str) -> None:
    assert refusal(flag, "3") == f"there is no flag {flag!r}. See `tombola find --help`."


@pytest.mark.parametrize(
    ("flag", "near"),
    [("--lr", "--learning-rate"), ("--bs", "--batch-size"), ("-epochs", "--epochs")],
)
def test_a_flag_is_found_by_its_initials_or_with_one_dash(flag: str, near: str) -> None:
    assert refusal(flag, "3") == f"there is no flag {flag!r}. Did you mean {near!r}?"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--epochs", "many"), "expected a number, got 'many'"),
        (("--batch-size", "8.5"), "expected a whole number, got '8.5'"),
        (("--seeds", "0-4"), "expected whole numbers with commas between, like 0,1,2, got '0-4'"),
        (("--seeds", "none"), "expected whole numbers with commas between"),
        (("--epochs",), "expected one argument"),
        (("--config",), "expected one argument"),
        (("sentiment",), "expected flags, got 'sentiment'"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(argv: tuple[str, ...], message: str) -> None:
    said = refusal(*argv)
    assert message in said
    assert said.endswith("See `tombola find --help`.")


def test_a_configuration_file_gives_flags_in_either_spelling(tmp_path: Path) -> None:
    text = "batch-size: 8\nlearning_rate: 4e-4\nseeds: [0, 1]\ncontrols: [random]\nsparsity: 0.5\n"
    assert read(config(tmp_path, text)) == {
        "batch_size": 8,
        "learning_rate": 4e-4,
        "seeds": (0, 1),
        "controls": ("random",),
        "sparsity": "0.5",
    }


def test_a_home_that_a_shell_leaves_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert (
        read("--task=csv:~/a.csv")
        == read("--task", "csv:~/a.csv")
        == {"task": "csv:/home/me/a.csv"}
    )
    assert read("--model=~/bert") == {"model": "/home/me/bert"}
    assert read(config(tmp_path, "model: ~/bert")) == {"model": "/home/me/bert"}
    assert read("--model=a/~/b", "--task=x~/y") == {"model": "a/~/b", "task": "x~/y"}


@pytest.mark.parametrize("text", ["controls: []", "controls: none"])
def test_a_configuration_file_can_leave_a_list_empty(tmp_path: Path, text: str) -> None:
    assert read(config(tmp_path, text)) == {"controls": ()}


def test_flags_win_over_the_configuration_file_wherever_they_stand(tmp_path: Path) -> None:
    file = config(tmp_path, "epochs: 5\nbatch-size: 8\n").split("=")
    for argv in (
        ["--epochs", "2", *file],
        [*file, "--epochs", "2"],
        ["--epochs=2", "=".join(file)],
    ):
        assert read(*argv) == {"epochs": 2.0, "batch_size": 8}


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_configuration_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert read(config(tmp_path, text), "--epochs", "2") == {"epochs": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 8", "there is no flag '--batchsize'. Did you mean '--batch-size'?"),
        ("config: other.yaml", "a configuration can't name another"),
        ("- epochs\n- 3", "expected `flag: value` lines, got ['epochs', 3]"),
        ("epochs", "expected `flag: value` lines, got 'epochs'"),
        ("epochs: [1\nseeds: 2", "is not valid YAML"),
        ("epochs: soon", "expected a number, got 'soon'"),
        ("epochs: [1, 2]", "expected a number, got '1,2'"),
        ("seeds: []", "expected whole numbers"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)
def test_a_bad_configuration_file_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(config(tmp_path, text))


def test_a_configuration_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bits").write_bytes(b"\xff\xfe\x00")
    for name in ("none.yaml", "bits", "."):
        said = refusal("--config", str(tmp_path / name))
        assert said.startswith(f"expected a YAML file as --config, got {str(tmp_path / name)!r}")


def test_a_verb_may_have_the_flags_of_some_fields_only() -> None:
    parser = Parser(prog="x", description="")
    add_flags(parser, LabSpec, only=("store", "threads"))
    assert {*parser.flags()} - {"--help", "--config"} == {"--store", "--threads"}


def test_a_word_may_stand_for_a_number_where_a_verb_says_so() -> None:
    parser = Parser(prog="x", description="")
    words = {"learning_rate": ("tune", "the best of three")}
    add_flags(parser, TrainSpec, leave_out=SEEDS, default="", words=words)
    assert "--learning-rate X|tune" in parser.format_help()
    assert "or tune: the best of three" in " ".join(parser.format_help().split())
    assert parser.read(["--learning-rate", "tune"]).learning_rate == "tune"
    assert parser.read(["--learning-rate", "1e-3"]).learning_rate == 1e-3
    with pytest.raises(SpecError, match="expected a number or `tune`, got 'tuna'"):
        parser.read(["--learning-rate", "tuna"])
    with pytest.raises(SpecError, match="expected a number, got 'tune'"):
        parser.read(["--weight-decay", "tune"])
