"""Work without padding, on the tokens that are read, comes to what the model itself would make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertLMHeadModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from tombola.kernel.packed import _kept, packable, packed
from tombola.kernel.reads import IGNORED, Reads

READS = {"classification": Reads.FIRST, "span": Reads.ALL, "mlm": Reads.LABELLED}
LENGTHS = [9, 4, 1, 6, 4]
SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}
WITHOUT_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def batch(lengths: list[int], kind: str) -> dict[str, Tensor]:
    """Texts of some lengths, padded, with labels."""
    chance = torch.Generator().manual_seed(1)
    size = (len(lengths), max(lengths))
    tokens = torch.arange(size[1]) < torch.tensor(lengths)[:, None]
    ids = torch.randint(5, 50, size, generator=chance) * tokens
    inputs = {"input_ids": ids, "attention_mask": tokens.long()}
    if kind == "classification":
        inputs["labels"] = torch.arange(len(lengths)) % 2
    elif kind == "span":
        inputs["start_positions"] = torch.zeros(len(lengths), dtype=torch.long)
        inputs["end_positions"] = torch.tensor(lengths) - 1
    else:
        chosen = tokens & (torch.rand(size, generator=chance) < 0.4)
        chosen[0] = False  # a text of which nothing is masked
        inputs["labels"] = torch.where(chosen, ids, IGNORED)
    return inputs


def gradients(model: PreTrainedModel, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
    """Loss of a model, and the gradient of each parameter."""
    loss = model(**inputs).loss
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.detach(), found


MODELS: dict[str, tuple[Callable[[Any], PreTrainedModel], Callable[..., Any], str]] = {
    "bert": (BertForSequenceClassification, BertConfig, "classification"),
    "bert-span": (BertForQuestionAnswering, BertConfig, "span"),
    "bert-mlm": (BertForMaskedLM, BertConfig, "mlm"),
    "electra": (ElectraForSequenceClassification, ElectraConfig, "classification"),
    "roberta": (RobertaForSequenceClassification, RobertaConfig, "classification"),
    "xlm-roberta-mlm": (XLMRobertaForMaskedLM, XLMRobertaConfig, "mlm"),
}


@pytest.mark.parametrize("lengths", [LENGTHS, [5, 5, 5]], ids=["padded", "of one length"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_the_model_itself(name: str, lengths: list[int]) -> None:
    made, config, kind = MODELS[name]
    torch.manual_seed(0)
    model = made(config(**SIZES, **WITHOUT_DROPOUT)).double().train()
    assert packable(model)
    inputs = batch(lengths, kind)
    expected, own = gradients(model, inputs)
    with packed(model, inputs, READS[kind]) as less:
        loss, found = gradients(model, less)
    assert torch.allclose(loss, expected, rtol=1e-12)
    assert found.keys() == own.keys()
    for weight, gradient in own.items():
        assert torch.allclose(found[weight], gradient, rtol=1e-9, atol=1e-12), weight


def test_every_vector_is_made_where_nobody_says_which_are_read() -> None:
    model = BertForMaskedLM(BertConfig(**SIZES)).double().eval()
    inputs = batch(LENGTHS, "mlm")
    del inputs["labels"]
    expected = model(**inputs).logits
    with packed(model, inputs, Reads.LABELLED) as less:
        logits = model(**less).logits
    assert torch.allclose(logits, expected, rtol=1e-9)


def test_the_last_block_is_computed_for_the_tokens_that_are_read_only() -> None:
    model = BertForMaskedLM(BertConfig(**SIZES)).train()
    inputs, rows = batch(LENGTHS, "mlm"), []
    for layer in model.bert.encoder.layer:
        layer.intermediate.dense.register_forward_hook(lambda *args: rows.append(len(args[1][0])))
    with packed(model, inputs, Reads.LABELLED) as less:
        logits = model(**less).logits
    masked = int((inputs["labels"] >= 0).sum())
    assert rows == [sum(LENGTHS), masked]
    assert logits.shape == (1, masked, 50)


def test_a_model_is_as_it_was_afterwards_whatever_happens() -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES)).eval()
    inputs = batch(LENGTHS, "classification")
    before = model(**inputs).logits
    with pytest.raises(ZeroDivisionError), packed(model, inputs, Reads.FIRST):
        1 / 0  # noqa: B018
    assert torch.equal(model(**inputs).logits, before)


def test_other_models_are_left_to_themselves() -> None:
    sizes: dict[str, Any] = {
        "dim": 24,
        "n_layers": 1,
        "n_heads": 3,
        "hidden_dim": 40,
        "vocab_size": 50,
    }
    other = DistilBertForSequenceClassification(DistilBertConfig(**sizes))
    decoder = BertLMHeadModel(BertConfig(**SIZES, is_decoder=True))
    inputs = batch(LENGTHS, "classification")
    for model in (other, decoder):
        assert not packable(model)
        with packed(model, inputs, Reads.FIRST) as same:
            assert same is inputs


@pytest.mark.parametrize("drop", [0.1, 0.5, 1e-4])
def test_dropout_drops_as_often_as_asked_and_keeps_the_mean(drop: float) -> None:
    torch.manual_seed(0)
    kept = _kept(torch.empty(1000, 1001), drop)
    dropped = float((kept == 0).double().mean())
    assert dropped == pytest.approx(drop, rel=0.01, abs=3e-5)
    assert kept.unique().tolist() == pytest.approx([0, 1 / (1 - drop)], rel=2e-5)
    neighbours = (kept[:, 1:] == 0) & (kept[:, :-1] == 0)
    assert float(neighbours.double().mean()) == pytest.approx(drop**2, rel=0.05, abs=1e-6)


def test_dropout_draws_from_the_global_generator_only() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(_kept(torch.empty(50, 7), 0.3))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_where_dropout_is_drawn_it_reaches_weights_and_both_changes_of_each_block() -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES)).train()
    inputs, shapes = batch(LENGTHS, "classification"), []

    def spy(like: Tensor, drop: float) -> Tensor:
        shapes.append(tuple(like.shape))
        return _kept(like, drop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.kernel.packed._kept", spy)
        with packed(model, inputs, Reads.FIRST) as less:
            model(**less)
    tokens, texts = sum(LENGTHS), len(LENGTHS)
    whole = [(texts * 3, 9, 9), (tokens, 24), (tokens, 24)]
    assert shapes == [*whole, (texts * 3, 1, 9), (texts, 24), (texts, 24)]


def test_weights_learn_the_same_whether_or_not_a_batch_has_padding(tiny: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(tiny).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    inputs = batch([5, 5], "classification")
    wider = {
        name: nn.functional.pad(tensor, (0, 3)) if tensor.ndim == 2 else tensor
        for name, tensor in inputs.items()
    }
    found = []
    for one in (inputs, wider):
        with packed(model, one, Reads.FIRST) as less:
            found.append(gradients(model, less)[1])
    for name, gradient in found[0].items():
        assert torch.allclose(found[1][name], gradient, rtol=1e-4, atol=1e-6)
