"""Texts in one row give what the model's own forward pass gives, and few shapes."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from tombola.kernel.reads import Reads
from tombola.kernel.varlen import (
    LEAST_TOKENS,
    _most_filled,
    _size,
    in_one_row,
    packed_row,
    takes_one_row,
)

SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
CONFIGS = (BertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig)
HEADS = {
    Reads.FIRST: AutoModelForSequenceClassification,
    Reads.LABELLED: AutoModelForMaskedLM,
}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
LENGTHS = ((7, 20, 12, 33), (64,), (32, 32), (1, 2), (70, 70, 70))


def model_of(config: Any, reads: Reads, **more: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = HEADS[reads].from_config(config(**{**SIZES, **more}))
    model.eval()
    return model


def batch_of(lengths: tuple[int, ...], reads: Reads) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    longest = max(lengths)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    words = torch.randint(5, 90, mask.shape, generator=drawn)
    ids = torch.where(mask.bool(), words, 1)
    if reads is Reads.FIRST:
        labels = torch.arange(len(lengths)) % 2
    else:
        chosen = torch.rand(mask.shape, generator=drawn) < 0.3
        chosen[:, 0] = True
        labels = torch.where(chosen & mask.bool(), words, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("reads", HEADS, ids=str)
@pytest.mark.parametrize("config", CONFIGS)
def test_a_row_has_the_loss_and_the_gradient_of_the_padded_batch(
    config: Any, reads: Reads, lengths: tuple[int, ...]
) -> None:
    model, batch = model_of(config, reads), batch_of(lengths, reads)
    loss = model(**batch).loss
    expected = gradients(model, loss)
    row = packed_row(model, batch, reads)
    with in_one_row(model, row, reads, 70) as inputs:
        found_loss = model(**inputs).loss
    found = gradients(model, found_loss)
    assert "forward" not in vars(model.base_model.encoder)
    torch.testing.assert_close(found_loss, loss)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("reads", HEADS, ids=str)
def test_tokens_keep_their_order_and_each_text_its_positions(reads: Reads) -> None:
    model, batch = model_of(RobertaConfig, reads), batch_of((3, 5), reads)
    row = packed_row(model, batch, reads)
    assert row["offsets"].tolist() == [0, 3, 8, 64]
    assert row["position_ids"][0, :8].tolist() == [2, 3, 4, 2, 3, 4, 5, 6]
    assert row["input_ids"][0, 3:8].tolist() == batch["input_ids"][1].tolist()
    assert {len(row[name][0]) for name in ("input_ids", "position_ids", "token_type_ids")} == {64}


def test_a_row_that_is_full_has_no_text_more() -> None:
    model = model_of(BertConfig, Reads.FIRST)
    assert packed_row(model, batch_of((32, 32), Reads.FIRST), Reads.FIRST)["offsets"].tolist() == [
        *(0, 32, 64)
    ]


def test_dropout_drops_in_every_place() -> None:
    batch = batch_of((9, 30), Reads.FIRST)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        only = model_of(BertConfig, Reads.FIRST, **{**dict.fromkeys(DROPOUTS, 0.0), name: 0.5})
        row = packed_row(only, batch, Reads.FIRST)
        with in_one_row(only.train(), row, Reads.FIRST, 70) as inputs, torch.no_grad():
            losses = {float(only(**inputs).loss) for _ in range(5)}
        assert len(losses) == 5, name


@given(st.integers(1, 200_000), st.sampled_from([16, 64]), st.sampled_from([2, 4, 8]))
def test_sizes_are_few_and_not_much_larger(count: int, least: int, steps: int) -> None:
    size = _size(count, least=least, steps=steps)
    assert size >= count
    assert size - count < max(least, count / steps)
    assert _size(size, least=least, steps=steps) == size


@given(st.integers(1, 200_000), st.sampled_from([4, 8]))
def test_the_text_that_fills_a_row_up_is_not_longer_than_said(count: int, steps: int) -> None:
    size = _size(count, least=LEAST_TOKENS, steps=steps)
    assert size - count <= _most_filled(size)


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_there_are_as_many_sizes_as_said_between_powers_of_two(steps: int) -> None:
    assert len({_size(n, least=64, steps=steps) for n in range(1025, 2049)}) == steps


def test_what_the_module_can_take() -> None:
    bert = model_of(BertConfig, Reads.FIRST)
    assert takes_one_row(bert, Reads.FIRST)
    assert takes_one_row(bert, Reads.LABELLED)
    assert not takes_one_row(bert, Reads.ALL)  # span heads score padding too
    assert not takes_one_row(model_of(BertConfig, Reads.FIRST, num_attention_heads=8), Reads.FIRST)
    assert not takes_one_row(model_of(BertConfig, Reads.FIRST, is_decoder=True), Reads.FIRST)
    for size, taken in ((256, True), (264, False)):  # what torch's attention takes
        one_head = model_of(BertConfig, Reads.FIRST, hidden_size=size, num_attention_heads=1)
        assert takes_one_row(one_head, Reads.FIRST) is taken
    modern = model_of(ModernBertConfig, Reads.FIRST, pad_token_id=0)
    assert not takes_one_row(modern, Reads.FIRST)
