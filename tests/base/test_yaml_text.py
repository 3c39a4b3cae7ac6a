"""YAML of others is read in bounds, and whatever is wrong with it is one short line."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from tombola.base.errors import SpecError
from tombola.base.fields import number
from tombola.base.keys import exact_fraction
from tombola.base.specs import FindSpec, LabSpec, TrainSpec
from tombola.base.yaml_text import NotYamlError, compose, construct
from tombola.finders.imp import ImpSpec
from tombola.lab.planfile.plan_file import read_plan
from tombola.tasks.task import load_task

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {k0: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}\n" for n in range(1, 10)
)
TEXTS = f"a: &a {'x' * 90_000}\nb: [{', '.join(['*a'] * 90)}]\n"
WRONG = {
    "bomb": (BOMB, "aliases"),
    "merges": (MERGES, "aliases"),
    "texts": (TEXTS, "aliases"),
    "itself": ("a: &a [*a]", "part of itself"),
    "deep list": (f"a: {'[' * 999}{']' * 999}", "nested"),
    "deep fields": ("\n".join(f"{' ' * n}a:" for n in range(400)), "nested"),
    "twice": ("a: 1\na: 2", "'a' appears twice"),
    "twice below": ("recipe: {a: 1, a: 2}", "'a' appears twice"),
    "tag": ("a: !!python/object/apply:os.system [ls]", "tag"),
    "binary": ("a: !!binary aGk=", "tag"),
    "set": ("a: !!set {x, y}", "tag"),
    "unknown tag": ("a: !mine x", "tag"),
    "control": ("a: \x07", "special characters"),
    "undefined": ("a: *b", "undefined"),
}
READ: dict[str, Callable[[Path], Any]] = {
    "plan": read_plan,
    "task": lambda path: load_task(str(path)),
}


@pytest.mark.parametrize("kind", [*READ, "config"])
@pytest.mark.parametrize("wrong", WRONG)
def test_every_reader_refuses_yaml_that_is_not_plain_and_small(
    tmp_path: Path, cli: Cli, wrong: str, kind: str
) -> None:
    text, said = WRONG[wrong]
    path = tmp_path / "x.yaml"
    path.write_text(text)
    if kind == "config":
        status, _, shown = cli("find", "--config", path)
        assert status == 2
    else:
        with pytest.raises(SpecError) as error:
            READ[kind](path)
        shown = str(error.value)
    assert said in shown
    assert len(shown) < 400


@pytest.mark.parametrize("kind", [*READ, "config"])
@pytest.mark.parametrize("what", ["pipe", "folder", "device", "large", "latin"])
def test_a_file_that_is_not_a_small_text_is_refused_at_once(
    tmp_path: Path, cli: Cli, what: str, kind: str
) -> None:
    path = tmp_path / "x.yaml"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "large":
        with path.open("w") as file:
            file.truncate(1 << 33)
    else:
        path.write_bytes(b"about: caf\xe9\n")
    if kind == "config":
        assert cli("find", "--config", path)[0] == 2
    else:
        with pytest.raises(SpecError, match=r"x\.yaml"):
            READ[kind](path)


@pytest.mark.parametrize("number", ["9" * 5000, "+" + "9" * 5000, "-1" + "0" * 30])
def test_a_number_without_bounds_is_refused(number: str) -> None:
    with pytest.raises(NotYamlError):
        construct(compose(f"a: {number}"))


@pytest.mark.parametrize(
    "text", ["0100", "0x10", "0x" + "f" * 5000, "0b11", "0o17", "1_000", "1_0.5", "１", "12:30"]
)
def test_a_number_that_readers_of_yaml_differ_about_is_text(text: str) -> None:
    assert construct(compose(f"a: {text}")) == {"a": text}


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-0", 0), ("+5", 5), ("1e-5", 1e-5), (".5", 0.5), ("-2.E3", -2e3), ("0e-999", 0.0)],
)
def test_a_plain_number_is_a_number_with_and_without_a_point(text: str, number: float) -> None:
    read = construct(compose(f"a: {text}"))["a"]
    assert read == number
    assert type(read) is type(number)


def test_a_number_that_would_become_zero_is_refused_in_yaml() -> None:
    for text in ("1e-400", "-1.0e-999999", ".01e-999"):
        with pytest.raises(NotYamlError, match="too small"):
            construct(compose(f"a: {text}"))


def test_dates_and_times_are_text_and_aliases_are_read() -> None:
    text = "base: &base {day: 2026-02-31, time: 12:30}\nmore: {<<: *base, day: x}\nsame: *base"
    read = construct(compose(text))
    assert read["base"] == {"day": "2026-02-31", "time": "12:30"}
    assert read["more"] == {"day": "x", "time": "12:30"}
    assert read["same"] == read["base"]


def test_a_value_in_a_configuration_is_what_is_written(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "x.yaml"
    for text, said in (
        ("sparsity: 0.70e0_x", "got '0.70e0_x'"),
        ("seed: {a: 1}", "there is no flag '--seed'"),
        ("seeds: {a: 1}", "value or a list"),
        ("seeds:", "got nothing"),
        ("labels: ['a,b', c]", "can't have a comma in a value of a list"),
        ("task: 2026-01-31", "'2026-01-31'"),
        ("task: on", "'on'"),
    ):
        path.write_text(text)
        status, _, shown = cli("find", "--config", path)
        assert status == 2
        assert said in shown


@pytest.mark.parametrize(
    "sparsity",
    [
        "1e1000000",
        "1e-999999",
        "-1e-999999",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "inf",
        "nan",
        "0" * 4000 + "1",
        "1" * 4000,
        "0.1e",
        "1e-65",
        "sNaN123",
    ],
)
def test_a_fraction_without_bounds_is_refused_in_a_short_line(sparsity: str) -> None:
    with pytest.raises(SpecError, match="sparsity") as error:
        exact_fraction(sparsity)
    assert len(str(error.value)) < 300


def test_fractions_that_are_written_with_many_digits_are_read() -> None:
    assert exact_fraction("1e-64") == Decimal("1e-64")
    assert exact_fraction("0." + "0" * 70) == 0
    assert exact_fraction("0." + "9" * 28) == Decimal("0." + "9" * 28)
    assert exact_fraction("0.5" + "0" * 40) == Decimal("0.5")
    with pytest.raises(SpecError, match=r"at most 28 digits, got '?0\.9+.*Round it"):
        exact_fraction("0." + "9" * 29)
    assert exact_fraction("0e-999999") == exact_fraction("-0") == exact_fraction("0e999999") == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainSpec(epochs=1e308),
        lambda: TrainSpec(batch_size=10**30),
        lambda: TrainSpec(max_length=10**12),
        lambda: TrainSpec(train_limit=10**5000),
        lambda: TrainSpec(seed=2**63),
        lambda: FindSpec(seeds=(2**64,)),
        lambda: ImpSpec(rewind_step=10**20),
        lambda: LabSpec(threads=10**9),
        lambda: LabSpec(workers=10**9),
        lambda: LabSpec(processes=10**30),
    ],
)
def test_a_number_that_nothing_could_be_made_of_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(SpecError, match="at most") as error:
        make()
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("flag", ["--epochs", "--batch-size", "--seeds", "--threads", "--step"])
@pytest.mark.parametrize("value", ["1e999999", "9" * 5000, "nan", "-1e400", "\x1b[2J"])
def test_numbers_of_flags_are_bounded_before_anything_is_read(
    cli: Cli, flag: str, value: str
) -> None:
    status, _, shown = cli("find", f"{flag}={value}")
    assert status == 2
    assert shown.count("\n") == 1
    assert len(shown) < 300


@pytest.mark.parametrize("flag", ["--epochs", "--batch-size", "--seeds", "--warmup", "--step"])
@pytest.mark.parametrize("value", ["1_0", "１", "٣", "\u20031", "0_1", "1e-999999999"])
def test_a_number_is_plain_ascii_and_none_becomes_zero(cli: Cli, flag: str, value: str) -> None:
    status, _, shown = cli("find", f"{flag}={value}")
    assert status == 2
    assert "got" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("value", ["1_0", "１", "0x10", "1e-999999999"])
def test_a_number_in_a_plan_is_plain_ascii_and_none_becomes_zero(
    tmp_path: Path, value: str
) -> None:
    path = tmp_path / "x.yaml"
    for knobs in (f"train: {{warmup: {value}}}", f"seeds: [{value}]"):
        path.write_text(f"version: 1\ntasks: [mlm]\narms: {{d: {{kind: dense}}}}\n{knobs}\n")
        with pytest.raises(SpecError, match=r"x\.yaml:4: (warmup|seeds) must be a"):
            read_plan(path)


def test_zero_has_one_sign() -> None:
    assert str(number("-0.0", float)) == "0.0"
    assert str(number("-0", Decimal)) == "0"


def test_what_argparse_quotes_is_cut(cli: Cli) -> None:
    for words in (("find", f"--no-rewind={'9' * 5000}"), ("find", "x" * 5000)):
        status, _, shown = cli(*words)
        assert status == 2
        assert len(shown) < 400


def test_a_task_without_a_field_that_it_needs_says_which(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("kind: classification\ntexts: [text]\n")
    with pytest.raises(SpecError, match=r"text as 'metric' in .*x\.yaml, got nothing\. Add it"):
        load_task(str(path))
