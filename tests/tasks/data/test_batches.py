"""Every example comes once a pass, in an order that the seed alone decides."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, DataCollatorWithPadding

from tombola.base.errors import DataError, SpecError
from tombola.base.specs import TrainSpec
from tombola.kernel.reads import IGNORED
from tombola.tasks.data.batches import batches, collate
from tombola.tasks.data.encode import chosen, encode_split
from tombola.tasks.kinds.mlm import mask_tokens
from tombola.tasks.task import check_recipe, load_task

LENGTHS = np.random.default_rng(0).integers(4, 60, size=1037)


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


def one_pass(seed: int, batch_size: int = 8) -> list[list[int]]:
    chance = torch.Generator().manual_seed(seed)
    return [batch.tolist() for batch in batches(LENGTHS, batch_size, chance)]


# batches


@pytest.mark.parametrize("batch_size", [1, 8, 32, 5000])
def test_each_example_comes_exactly_once_a_pass(batch_size: int) -> None:
    groups = one_pass(0, batch_size)
    assert sorted(chain.from_iterable(groups)) == list(range(len(LENGTHS)))
    sizes = sorted(map(len, groups))
    assert sizes[1:] == [batch_size] * (len(sizes) - 1)
    assert len(groups) == -(-len(LENGTHS) // batch_size)


def test_the_order_is_the_same_for_the_same_seed_and_another_for_others() -> None:
    assert one_pass(3) == one_pass(3)
    assert one_pass(3) != one_pass(4)
    assert {frozenset(group) for group in one_pass(3)} != {frozenset(g) for g in one_pass(4)}


def test_each_pass_has_an_order_of_its_own() -> None:
    chance = torch.Generator().manual_seed(0)
    first, second = ([b.tolist() for b in batches(LENGTHS, 8, chance)] for _ in range(2))
    assert first != second


def test_examples_of_like_length_stand_together_in_batches_that_do_not() -> None:
    groups = [LENGTHS[group] for group in one_pass(0)]
    within = np.mean([group.max() - group.min() for group in groups])
    assert within < 4 < np.ptp(LENGTHS) / 4
    means = [group.mean() for group in groups]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_a_limit_chooses_the_same_examples_for_all_seeds() -> None:
    some = chosen(1000, 100)
    assert some.tolist() == chosen(1000, 100).tolist() == sorted(set(some.tolist()))
    assert len(some) == 100
    assert some.min() >= 0
    assert some.max() < 1000
    assert some.tolist() != list(range(100))
    assert set(chosen(1000, 50).tolist()) < set(some.tolist())


@pytest.mark.parametrize("limit", [0, 1000, 1001])
def test_no_limit_chooses_all(limit: int) -> None:
    assert chosen(1000, limit).tolist() == list(range(1000))


# encoding and padding


def test_a_pair_is_padded_to_the_longest_of_the_batch(tokenizer: Any) -> None:
    task = load_task("gloss-match")
    rows = [
        {"sentence1": "a film", "sentence2": "plot", "label": 1},
        {"sentence1": "a " * 9, "sentence2": "the film", "label": 0},
        {"sentence1": "a " * 40, "sentence2": "the film", "label": 0},
    ]
    examples = encode_split(rows, task, tokenizer, TrainSpec(max_length=20))
    assert examples.lengths.tolist() == [6, 14, 20]
    batch = collate(examples, np.array([1, 0]), task, pad=77)
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "input_ids": (2, 14),
        "token_type_ids": (2, 14),
        "attention_mask": (2, 14),
        "labels": (2,),
    }
    assert batch["labels"].tolist() == [0, 1]
    assert batch["attention_mask"].sum(1).tolist() == [14, 6]
    assert batch["input_ids"][1, 6:].tolist() == [77] * 8
    assert batch["token_type_ids"][1].tolist() == [0, 0, 0, 0, 1, 1, *[0] * 8]
    text = tokenizer.decode(batch["input_ids"][1, :6])
    assert text == "[CLS] a film [SEP] plot [SEP]"


def test_a_tokenizer_that_pads_on_the_right_makes_the_same_batches(tokenizer: Any) -> None:
    task = load_task("gloss-match")
    rows = [{"sentence1": "a " * n, "sentence2": "plot", "label": n % 2} for n in (1, 9, 3)]
    examples = encode_split(rows, task, tokenizer, TrainSpec(max_length=20))
    ours = collate(examples, np.array([2, 0, 1]), task, pad=tokenizer.pad_token_id)
    features = [
        {name: values[n] for name, values in examples.inputs.items()}
        | {"labels": examples.targets[n]}
        for n in (2, 0, 1)
    ]
    theirs = DataCollatorWithPadding(tokenizer)(features)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])
        assert tensor.dtype == theirs[name].dtype


def test_labels_have_the_shape_and_type_that_the_head_wants(tokenizer: Any) -> None:
    rows = [{"sentence": "a film", "label": 0.5}, {"sentence": "a plot", "label": -2}]
    task = load_task("valence")
    examples = encode_split(rows, task, tokenizer, TrainSpec(max_length=20))
    labels = collate(examples, np.array([0, 1]), task, pad=0)["labels"]
    assert labels.dtype == torch.float32
    assert labels.tolist() == [0.5, -2.0]
    mlm = load_task("mlm")
    texts = encode_split([{"text": "a film"}], mlm, tokenizer, TrainSpec(max_length=20))
    assert "labels" not in collate(texts, np.array([0]), mlm, pad=0)


def test_true_and_false_are_classes_one_and_zero(tokenizer: Any) -> None:
    rows = [{"sentence": "a film", "label": label} for label in (True, False)]
    task = load_task("sentiment")
    examples = encode_split(rows, task, tokenizer, TrainSpec(max_length=20))
    labels = collate(examples, np.array([0, 1]), task, pad=0)["labels"]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize("label", [2, -1, 0.5, "1", None])
def test_a_label_that_is_not_a_class_is_refused(tokenizer: Any, label: Any) -> None:
    rows = [{"sentence": "a film", "label": label}]
    with pytest.raises(DataError, match=r"'sentiment' has labels 0 to 1, got "):
        encode_split(rows, load_task("sentiment"), tokenizer, TrainSpec(max_length=20))


@pytest.mark.parametrize("label", ["good", None])
def test_a_value_that_is_not_a_number_is_refused(tokenizer: Any, label: Any) -> None:
    rows = [{"sentence": "a film", "label": label}]
    with pytest.raises(DataError, match="'valence' has numbers as labels, got "):
        encode_split(rows, load_task("valence"), tokenizer, TrainSpec(max_length=20))


# spans


def question(context: str, answer: str, start: int | None = None) -> dict[str, Any]:
    at = context.index(answer) if start is None else start
    return {
        "question": "a short story",
        "context": context,
        "answers": {"text": [answer], "answer_start": [at]},
    }


SPANS = [
    question("the plot was a music story.", "plot"),
    question("The PLOT (of it), was 'bad'!", "bad"),
    question("a  story\twith\nspaces   and ends", "spaces   and ends"),
    question("very very very long", "very", start=5),
    question("Zoë's naïve café", "naïve"),
    question("unbreakable", "unbreakable"),
]


@pytest.mark.parametrize("row", SPANS, ids=lambda row: row["answers"]["text"][0])
def test_the_tokens_of_an_answer_stand_over_the_answer(tokenizer: Any, row: dict[str, Any]) -> None:
    task = load_task("gloss-span")
    examples = encode_split([row], task, tokenizer, TrainSpec(max_length=60))
    batch = collate(examples, np.array([0]), task, pad=0)
    assert batch.keys() >= {"start_positions", "end_positions"}
    first, last = int(batch["start_positions"][0]), int(batch["end_positions"][0])
    offsets = examples.offsets[0]
    answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
    assert row["context"][offsets[first][0] : offsets[last][1]] == answer
    assert offsets[first][0] == start
    ids = batch["input_ids"][0, first : last + 1]
    assert tokenizer.decode(ids) == tokenizer.decode(
        tokenizer(answer, add_special_tokens=False)["input_ids"]
    )


def test_only_tokens_of_the_context_have_offsets(tokenizer: Any) -> None:
    task = load_task("gloss-span")
    examples = encode_split(
        [question("the plot", "plot")], task, tokenizer, TrainSpec(max_length=60)
    )
    assert examples.offsets[0].tolist() == [[0, 0]] * 5 + [[0, 3], [4, 8], [0, 0]]


def test_an_answer_that_was_cut_off_is_at_zero_and_the_question_is_kept(tokenizer: Any) -> None:
    task = load_task("gloss-span")
    rows = [question("the plot " * 20 + "end", "end"), question("the plot " * 20 + "end", "plot")]
    examples = encode_split(rows, task, tokenizer, TrainSpec(max_length=12))
    assert examples.targets == [(0, 0), (6, 6)]
    assert examples.lengths.tolist() == [12, 12]
    assert tokenizer.decode(examples.inputs["input_ids"][0][:5]) == "[CLS] a short story [SEP]"


@pytest.mark.parametrize("answers", [None, {"text": [], "answer_start": []}])
def test_a_question_without_an_answer_is_refused(tokenizer: Any, answers: Any) -> None:
    row = question("the plot", "plot") | {"answers": answers}
    with pytest.raises(DataError, match="an answer in every row"):
        encode_split([row], load_task("gloss-span"), tokenizer, TrainSpec(max_length=60))


# masked tokens


@pytest.fixture(scope="module")
def many(tokenizer: Any) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(5, len(tokenizer), (200, 100), generator=chance)
    ids[:, 0], ids[:, 60] = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids[:, 61:] = tokenizer.pad_token_id
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def masked(batch: dict[str, torch.Tensor], tokenizer: Any, seed: int) -> dict[str, torch.Tensor]:
    return mask_tokens(batch, tokenizer, torch.Generator().manual_seed(seed))


def test_fifteen_percent_are_chosen_and_eighty_ten_ten_treated(tokenizer: Any, many: Any) -> None:
    before = many["input_ids"].clone()
    batch = masked(many, tokenizer, 0)
    assert torch.equal(many["input_ids"], before)
    ids, labels = batch["input_ids"], batch["labels"]
    picked = labels != IGNORED
    words = before >= 5
    assert not (picked & ~words).any()
    assert picked.sum() / words.sum() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(labels[picked], before[picked])
    assert torch.equal(ids[~picked], before[~picked])
    to_mask = (ids == tokenizer.mask_token_id) & picked
    kept = (ids == before) & picked
    shares = [float(kind.sum() / picked.sum()) for kind in (to_mask, kept)]
    assert shares == pytest.approx([0.8, 0.1], abs=0.03)
    replaced = ids[picked & ~to_mask & ~kept]
    assert replaced.unique().numel() > 30
    assert replaced.max() < len(tokenizer)


def test_masked_tokens_depend_on_the_generator_alone(tokenizer: Any, many: Any) -> None:
    first = masked(many, tokenizer, 1)
    torch.manual_seed(5)
    again, other = masked(many, tokenizer, 1), masked(many, tokenizer, 2)
    for name in ("input_ids", "labels"):
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("text", [3, None])
def test_what_is_not_text_is_reported_with_its_row(tokenizer: Any, text: Any) -> None:
    rows = [{"sentence": "a film", "label": 1}, {"sentence": text, "label": 1}]
    with pytest.raises(DataError, match=rf"'sentence' has text in every row, got {text} in row 1"):
        encode_split(rows, load_task("sentiment"), tokenizer, TrainSpec(max_length=20))


# blocks


WIKI = load_task("wikipedia-mlm")
BLOCKS = TrainSpec(max_length=8, blocks=True)


def test_texts_are_joined_and_cut_into_full_blocks_with_special_tokens(tokenizer: Any) -> None:
    texts = ["a film and a plot", "", "it was very long , very long"]
    rows = [{"text": text} for text in texts]
    examples = encode_split(rows, WIKI, tokenizer, BLOCKS)
    shown = [tokenizer.decode(ids) for ids in examples.inputs["input_ids"]]
    assert shown == [
        "[CLS] a film and a plot it [SEP]",
        "[CLS] was very long, very long [SEP]",
    ]
    assert examples.lengths.tolist() == [8, 8]
    batch = collate(examples, np.array([0, 1]), WIKI, pad=0)
    assert batch["attention_mask"].tolist() == [[1] * 8] * 2
    assert batch["token_type_ids"].tolist() == [[0] * 8] * 2


def test_what_is_left_behind_the_last_block_is_dropped_unless_it_is_all(tokenizer: Any) -> None:
    long = [{"text": "a film " * 4}]
    assert encode_split(long, WIKI, tokenizer, BLOCKS).lengths.tolist() == [8]
    short = encode_split([{"text": "a film"}], WIKI, tokenizer, BLOCKS)
    assert short.lengths.tolist() == [4]


def test_a_limit_on_blocks_reads_the_texts_in_an_order_that_all_seeds_share(tokenizer: Any) -> None:
    rows = [{"text": f"{word} film " * 4} for word in ("good", "bad", "dull", "warm") * 600]
    few, more = (encode_split(rows, WIKI, tokenizer, BLOCKS, limit=limit) for limit in (5, 40))
    assert (len(few), len(more)) == (5, 40)
    for ours, theirs in zip(few.inputs["input_ids"], more.inputs["input_ids"], strict=False):
        assert ours.tolist() == theirs.tolist()
    sorted_rows = sorted(rows, key=lambda row: row["text"])
    some = encode_split(sorted_rows, WIKI, tokenizer, BLOCKS, limit=40)
    words = {tokenizer.decode(int(n)) for block in some.inputs["input_ids"] for n in block}
    assert {"good", "bad", "dull", "warm"} <= words


def test_a_limit_on_test_rows_of_a_sorted_file_has_every_class(tokenizer: Any) -> None:
    task = load_task("sentiment")
    rows = [{"sentence": "a film", "label": label} for label in [0] * 200 + [1] * 200]
    some = encode_split(rows, task, tokenizer, task.recipe, limit=40)
    assert len(some) == len(some.rows) == 40
    assert 8 < sum(some.targets) < 32
    again = encode_split(rows, task, tokenizer, task.recipe, limit=40)
    assert again.targets == some.targets


def test_texts_without_words_are_reported(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="got none in 2 rows"):
        encode_split([{"text": ""}, {"text": " "}], WIKI, tokenizer, BLOCKS)


@pytest.mark.parametrize(
    ("task", "knob"),
    [("sentiment", {"stride": 8}), ("mlm", {"query_length": 8}), ("squad", {"blocks": True})],
)
def test_a_knob_of_another_kind_of_task_is_refused(task: str, knob: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(knob))} is for tasks of kind"):
        check_recipe(load_task(task), TrainSpec(**knob))


def test_a_temperature_is_refused_where_it_softens_nothing() -> None:
    recipe = TrainSpec(distill=0.5, distill_temperature=4)
    check_recipe(load_task("sentiment"), recipe)
    with pytest.raises(SpecError, match="distill_temperature softens probabilities, got 4 for 'va"):
        check_recipe(load_task("valence"), recipe)
