"""A mistake in a plan file is refused in one line, with the file and the line it is in."""

from pathlib import Path
from typing import Any

import pytest

from plan_text import DENSE_ARM, TICKETS, grown
from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.lab.planfile.plan_file import expand, read_plan


@pytest.fixture
def refusal(tmp_path: Path) -> Any:
    """Text of a plan -> line and message, without the file's name."""
    file = tmp_path / "mine.yaml"

    def refusal(text: str) -> str:
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            expand(read_plan(file), subject)
        said = str(caught.value)
        assert "\n" not in said
        assert said.startswith(f"{file}:")
        assert said.endswith((".", "?"))
        return said.removeprefix(f"{file}:")

    return refusal


CIRCLE = "a: {kind: control, of: b}\nb: {kind: control, of: c}\nc: {kind: control, of: b}"
LATER = f"{TICKETS}\nmoved: {{kind: transfer, of: tickets}}\nx: "


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ("a: {kind: impp}", "5: there is no kind of arm 'impp'. Did you mean 'imp'?"),
        (
            "a: {of: b}",
            "5: arm 'a' needs a `kind`, got none. There are: connectivity, control, ",
        ),
        ("a: {kind: imp, sparsty: 0.5}", "5: there is no field of arm 'a' of kind imp 'sparsty'"),
        ("a: {kind: dense, of: a}", "5: there is no field of arm 'a' of kind dense 'of'"),
        (
            "a: {kind: transfer, of: a, start: rewund}",
            "5: there is no start of a transfer 'rewund'",
        ),
        ("a: {kind: imp, search: 1}", "5: there is no field of arm 'a' of kind imp 'search'"),
        ("a: {kind: control}", "5: arm 'a' of kind control needs `of`, got none. Add it."),
        ("a: {kind: control,\n\n of: tikets}\n" + TICKETS, "7: there is no arm 'tikets'. Did you"),
        ("a: {kind: dense, tasks: [sentimnt]}", "5: there is no task of the plan 'sentimnt'. Did"),
        ("a: {kind: imp, sparsity: {mln: 0.5}}", "5: there is no task of the plan 'mln'. Did you"),
        ("a: {kind: imp, sparsity: 70}", "5: sparsity must be at least 0 and below 1, got 70."),
        ("a: {kind: imp, sparsity: 0}", "5: sparsity must be above 0 in a search, got 0."),
        (
            "a: {kind: imp, sparsity: [0.5, 0.7]}",
            "5: sparsity must be one number in an imp arm, got 2.",
        ),
        ("a: {kind: imp, sparsity: {mlm: [0.5, 0.7]}}", "5: sparsity must be one number"),
        (
            "a: {kind: imp, sparsity: []}",
            "5: sparsity must be a list that is not empty, got a list.",
        ),
        ("a: {kind: imp, step: 0}", "5: step must be above 0 and below 1, got 0."),
        ("a: {kind: imp, schedule: linar}", "5: there is no schedule 'linar'. Did you mean"),
        ("a: {kind: imp, rounds: [0.7, 0.5]}", "5: rounds must be rising sparsities above 0, "),
        ("a: {kind: imp, rounds: 0.7}", "5: rounds must be a list, got '0.7'. Write [0.7]."),
        ("a: {kind: imp, rounds: [0.3, 0.5], step: 0.1, sparsity: 0.7}", "5: the last of the"),
        ("a: {kind: imp, rounds: [0.3, 0.5], sparsity: {mlm: 0.7}}", "5: the last of the"),
        ("a: {kind: imp, keep_head: 1}", "5: keep_head must be true or false, got '1'."),
        ("a: {kind: imp, rewind_step: soon}", "5: rewind_step must be a whole number, got 'soon'."),
        ("a: {kind: imp, rewind_step: 1, no_rewind: true}", "5: no_rewind trains all weights"),
        ("a: {kind: imp, rewind_step: 500}", "5: weights are rewound to a step before the end"),
        ("a: {kind: dense, seeds: 3}", "5: seeds must be a list, got '3'. Write [3]."),
        ("a: {kind: dense, seeds: [0, 0]}", "5: seeds must have different entries, got 0 twice."),
        ("a: {kind: dense, seeds: [-1]}", "5: seeds must be distinct integers of 0 or more"),
        ("a: {kind: dense, seeds: {0: 1}}", "5: seeds must be a list, got fields."),
        ("a: {kind: dense, tasks: [1]}", "5: tasks must be a name, got '1'. Put it into quotes."),
        ("a: {kind: dense, tasks: }", "5: tasks must be a list, got nothing."),
        ("a: dense", "5: arm 'a' must be `field: value` lines, got 'dense'."),
        ("a: {kind: [imp]}", "5: kind must be a name, got a list."),
        (
            "a: {kind: dense}\na: {kind: dense}",
            "6: expected YAML: 'a' appears twice.",
        ),
        ("a: {kind: dense, kind: imp}", "5: expected YAML: 'kind' appears twice. Fix the file."),
        ("? [a]\n: {kind: dense}", "5: expected a name, got a list. Write `name: value`."),
        (
            "a: {kind: control, of: a}",
            "5: arms refer to each other in a circle: a -> a. Let one refer to an imp",
        ),
        (
            CIRCLE,
            "5: arms refer to each other in a circle: b -> c -> b. Let one refer to an imp arm.",
        ),
        (
            LATER + "{kind: control, of: y}\ny: {kind: dense}",
            "7: arm 'x' must refer to an arm of kind imp",
        ),
        (LATER + "{kind: transfer, of: moved}", "7: arm 'x' must refer to an arm of kind imp"),
        (LATER + "{kind: control, of: moved, names: [radnom]}", "7: there is no control 'radnom'."),
        (
            LATER + "{kind: control, of: moved, learning_rates: [0]}",
            "7: learning_rate must be above 0",
        ),
        (
            LATER + "{kind: control, of: tickets, sparsity: 0.3}",
            "7: expected a sparsity of the arm",
        ),
        (LATER + "{kind: control, of: tickets, seeds: [7]}", "7: expected a seed of the arm 'tick"),
        (LATER + "{kind: evaluate, of: moved, seeds: [0]}", "7: a ticket is evaluated on seeds ot"),
        (LATER + "{kind: evaluate, of: moved, search_seed: 7}", "7: expected a seed of the arm"),
        (LATER + "{kind: evaluate, of: moved, init: shufle}", "7: there is no initialisation"),
        (
            "a: {kind: imp, tasks: [mlm]}\nb: {kind: transfer, of: a, sources: [sentiment]}",
            "6: expected a task of the arm 'a', got sentiment. It has: mlm.",
        ),
    ],
)
def test_a_mistake_in_an_arm_has_its_line(refusal: Any, arms: str, message: str) -> None:
    assert refusal(grown(arms)).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nnew: 1\n", "1: this tombola reads plans of version 1, got version 2. Update"),
        ("version: 0\ntasks: [mlm]\n", "1: version must be 1, got 0."),
        ("version: one\ntasks: [mlm]\n", "1: version must be a whole number, got 'one'."),
        ("tasks: [mlm]\n", " a plan needs `version: 1`, got none. Add it."),
        ("version: 1\n", " a plan needs `tasks`, got none. Add some."),
        (
            "version: 1\ntask: [mlm]\n",
            "2: there is no field of a plan 'task'. Did you mean 'tasks'",
        ),
        ("version: 1\ntasks: [mlm,\n sentimnt]\n", "3: there is no task 'sentimnt'. Did you mean"),
        ("version: 1\ntasks: {mlm: {trian: {}}}\n", "2: there is no field of a task 'trian'. Did"),
        ("version: 1\ntasks: {mlm: {data: [x]}}\n", "2: data must be a name, got a list."),
        ("version: 1\ntasks: {mlm: 3}\n", "2: task 'mlm' must be `field: value` lines, got '3'."),
        ("version: 1\ntasks: mlm\n", "2: tasks must be a list, got 'mlm'. Write [mlm]."),
        ("version: 1\ntasks: {}\n", " a plan needs `tasks`, got none. Add some."),
        (
            "version: 1\ntasks: [mlm]\ntrain: {epochs: many}\n",
            "3: epochs must be a number, got 'many'.",
        ),
        ("version: 1\ntasks: [mlm]\ntrain: {epochs: -1}\n", "3: epochs must be above 0, got"),
        ("version: 1\ntasks: [mlm]\ntrain: {epoch: 1}\n", "3: there is no field of a recipe 'epo"),
        ("version: 1\ntasks: [mlm]\ntrain: {seed: 1}\n", "3: there is no field of a recipe 'seed'"),
        ("version: 1\ntasks: [mlm]\nscope: encodr\n", "3: there is no scope 'encodr'. Did you"),
        ("version: 1\ntasks: [mlm]\nseeds: [x]\n", "3: seeds must be a whole number, got 'x'."),
        ("version: 1\ntasks: [mlm]\nmodel: [x]\n", "3: model must be a name, got a list."),
    ],
)
def test_a_mistake_at_the_top_has_its_line(refusal: Any, text: str, message: str) -> None:
    assert refusal(text + DENSE_ARM).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " expected `field: value` lines, got nothing."),
        ("- a\n", " expected `field: value` lines, got a list."),
        ("plan", " expected `field: value` lines, got 'plan'."),
        ("a" * 999, f" expected `field: value` lines, got '{'a' * 80}…'."),
        ("version: 1\narms: [1\ntasks: x", "3: expected YAML: "),
        ("version: 1\n---\nversion: 1\n", "2: expected YAML: "),
        ("version: \x00", " expected YAML: "),
        ("version: 1\ntasks: [mlm]\n", " a plan needs `arms`, got none. Add some."),
        ("version: 1\ntasks: [mlm]\narms: {}\n", " a plan needs `arms`, got none. Add some."),
        ("a: " + "[" * 5000, "1: expected YAML: it is nested"),
        ("version: &a [*a]", "1: expected YAML: 'a' is part of itself"),
        ("version: *a", "1: expected YAML: "),
    ],
)
def test_what_is_no_plan_is_reported(refusal: Any, text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_a_plan_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^there is no plan 'tabel2'\. Did you mean 'table2'\?$"):
        read_plan("tabel2")
    (tmp_path / "bits.yaml").write_bytes(b"\xff\xfe\x00")
    for place in (tmp_path / "none.yaml", str(tmp_path / "none"), "none.yaml", tmp_path):
        with pytest.raises(SpecError, match="expected a plan file, got '"):
            read_plan(place)
    with pytest.raises(SpecError, match="expected a plan file, got '"):
        read_plan(tmp_path / "bits.yaml")


@pytest.mark.parametrize("search", ["", ", no_rewind: true", ", keep_head: true"])
def test_only_a_search_that_rewinds_later_has_weights_to_move_with(
    refusal: Any, search: str
) -> None:
    text = f"a: {{kind: transfer, of: b, start: rewound}}\nb: {{kind: imp, step: 0.5{search}}}"
    assert refusal(grown(text)).startswith("5: start: rewound needs a search that rewinds to a ")
