"""What a network is about to read is counted, and refused where there is nothing in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from tombola.base.errors import DataError
from tombola.base.specs import TrainSpec
from tombola.models.network import load_tokenizer
from tombola.tasks.data.encode import encode_split
from tombola.tasks.examples import Examples
from tombola.tasks.input_checks import count_inputs, count_shared, refuse_unreadable
from tombola.tasks.input_counts import InputCounts
from tombola.tasks.task import Task, load_task

SPEC = TrainSpec(max_length=12)
TASKS = {
    "one text": replace(load_task("sentiment"), texts=("text",)),
    "pair": replace(load_task("sentiment"), texts=("other", "text")),
    "values": replace(load_task("valence"), texts=("text",)),
    "span": replace(load_task("gloss-span"), texts=("question", "text")),
    "mlm": replace(load_task("mlm"), texts=("text",)),
}
FIELDS = {"other": "a film", "question": "film", "label": 1}


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(str(tiny))


def encoded(texts: Sequence[str], task: Task, tokenizer: Any, spec: TrainSpec = SPEC) -> Examples:
    answers = [{"text": [text[:1]], "answer_start": [0]} for text in texts]
    rows = [
        {**FIELDS, "text": text, "answers": answer}
        for text, answer in zip(texts, answers, strict=True)
    ]
    return encode_split(rows, task, tokenizer, spec)


def counted(
    texts: Sequence[str], task: Task, tokenizer: Any, spec: TrainSpec = SPEC
) -> InputCounts:
    return count_inputs(encoded(texts, task, tokenizer, spec), task, tokenizer)


def test_tokens_texts_and_examples_are_counted(tokenizer: Any) -> None:
    found = counted(
        ["a good film", "a good film", "电影", "", "film " * 30], TASKS["one text"], tokenizer
    )
    assert (found.examples, found.distinct, found.tokens) == (5, 4, 3 + 3 + 2 + 0 + 10)
    assert found.unknown == pytest.approx(2 / 18)
    assert (found.cut, found.empty) == (0.2, 0.2)


@pytest.mark.parametrize(("distinct", "said"), [(140, "all distinct"), (120, "120 distinct")])
def test_distinct_examples_are_counted_in_words(distinct: int, said: str) -> None:
    counts = InputCounts(
        examples=140, distinct=distinct, tokens=9, unknown=0.0, cut=0.0, empty=0.0, shared=0
    )
    assert counts.sentence("train").startswith(f"train split: 140 examples, {said}, 0.0 % of the t")


@pytest.mark.parametrize("kind", TASKS)
def test_what_just_fits_is_not_cut_and_one_token_more_is(kind: str, tokenizer: Any) -> None:
    task = TASKS[kind]
    room = 12 - 2 - {"pair": 3, "span": 2}.get(kind, 0)
    for words, cut in ((room, 0.0), (room + 1, 1.0)):
        assert counted(["film " * words], task, tokenizer).cut == cut


def test_windows_and_blocks_cut_nothing_off(tokenizer: Any) -> None:
    windows = counted(["film " * 40], TASKS["span"], tokenizer, replace(SPEC, stride=4))
    assert (windows.cut, windows.examples) == (0.0, 9)
    blocks = counted(["film " * 40, ""], TASKS["mlm"], tokenizer, replace(SPEC, blocks=True))
    assert (blocks.cut, blocks.empty, blocks.examples) == (0.0, 0.0, 4)


def test_rows_of_train_that_stand_in_test_are_counted_and_empty_ones_are_not(
    tokenizer: Any,
) -> None:
    task = TASKS["pair"]
    training = encoded(["a film", "a film", "plot", ""], task, tokenizer)
    test = encoded(["a film ", "", "good"], task, tokenizer)
    assert count_shared(training, test, task) == 2


UNREADABLE = {
    "empty": (["", " ", "\t"], "without any"),
    "no letters that it knows": (["很好的电影", "很好", "好"], "every token is unknown"),
    "one word": (["film", "film"], "all the same"),
    "alike as far as they are read": (["film " * 30 + "good", "film " * 30], "all the same"),
}


@pytest.mark.parametrize("kind", ["one text", "values", "mlm"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_texts_that_are_one_to_a_network_are_refused(case: str, kind: str, tokenizer: Any) -> None:
    texts, says = UNREADABLE[case]
    task = TASKS[kind]
    examples = encoded(texts, task, tokenizer)
    counts = count_inputs(examples, task, tokenizer)
    with pytest.raises(DataError, match=says) as caught:
        refuse_unreadable(counts, examples, task, "train", model="mine", tokenizer=tokenizer)
    assert "\n" not in str(caught.value)


def test_a_text_next_to_one_that_is_always_the_same_is_looked_at_too(tokenizer: Any) -> None:
    task = TASKS["pair"]
    examples = encoded(["film", "film"], task, tokenizer)
    counts = count_inputs(examples, task, tokenizer)
    with pytest.raises(DataError, match="all the same"):
        refuse_unreadable(counts, examples, task, "dev", model="m", tokenizer=tokenizer)


def test_an_answer_may_be_looked_for_in_one_text_which_is_reported(tokenizer: Any) -> None:
    task = TASKS["span"]
    examples = encoded(["film", "film"], task, tokenizer)
    counts = count_inputs(examples, task, tokenizer)
    refuse_unreadable(counts, examples, task, "dev", model="m", tokenizer=tokenizer)
    [told] = counts.remarks("dev")
    assert told.startswith("only 1 of the 2 examples of the dev split")


def table(folder: Path, train: Sequence[str], test: Sequence[str]) -> Path:
    folder.mkdir()
    for name, texts in (("train", train), ("test", test)):
        lines = [f"{text},{n % 2}" for n, text in enumerate(texts)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines, ""]))
    return folder


FLAGS = ("--text-columns", "text", "--label-column", "label", "--epochs", "1", "--sparsity", "0.5")
FAST = (*FLAGS, "--step", "0.5", "--controls", "none", "--threads", "1", "--output", "out")


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (["", ""], ["", ""], "without any that"),
        (["MKTAYIAK", "GGGG"], ["a", "b"], None),
        (["很好的电影", "不好"], ["很好", "不"], "every token is unknown"),
        (["a film", "a plot"], ["good", "good"], "2 rows of the test split that are all the same"),
        (["a film", "a plot"], ["good"], "two examples or more, got 1 row"),
    ],
)
def test_a_search_is_refused_before_any_training(
    train: list[str], test: list[str], says: str | None, tiny: Path, cli: Cli
) -> None:
    data = table(Path("data"), train, test)
    status, _, err = cli("find", "--model", tiny, "--task", f"csv:{data}", *FAST)
    if says is None:  # letters that its vocabulary has, one by one
        assert status == 0
        return
    assert (status, says in err, err.count("\n")) == (2, True, 1)
    assert not Path("store").exists() or not list(Path("store").rglob("result.json"))


def test_many_unknown_tokens_are_reported_instead_of_longer_training(tiny: Path, cli: Cli) -> None:
    texts = ["很好的电影 good", "不好的电影 bad", "电影 film", "电影 plot"]
    data = table(Path("data"), texts, texts)
    status, out, _ = cli("find", "--model", tiny, "--task", f"csv:{data}", *FAST)
    assert status == 0
    assert "of the tokens of the train split are unknown" in out
    assert "4 rows of the train split are in the test split, too" in out
    assert "Train longer" not in out
    status, _, _ = cli("report", "out")
    assert status == 0
