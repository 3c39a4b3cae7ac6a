"""A scope is found by structure in every architecture, and heads don't matter."""

import re
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from architectures import ARCHITECTURES, HIDDEN
from tombola.base.errors import ModelError, SpecError
from tombola.base.specs import SCOPE_NAMES
from tombola.ticket.scope import (
    SCOPES,
    backbone,
    beyond_linear,
    left_out,
    reasons_left_out,
    scope_parameters,
    starred,
    whole_model_size,
)


def classifier(name: str, auto: Any = transformers.AutoModelForSequenceClassification) -> nn.Module:
    model = auto.from_config(ARCHITECTURES[name].make())
    assert isinstance(model, nn.Module)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_encoder_is_every_matrix_of_every_distinct_block(name: str) -> None:
    made = ARCHITECTURES[name]
    parameters = scope_parameters(classifier(name), "encoder")
    assert len(parameters) == made.matrices * made.blocks
    assert sum(weight.numel() for weight in parameters.values()) == made.weights * made.blocks
    assert all(weight.ndim == 2 for weight in parameters.values())
    assert not any("norm" in key.lower() or "embed" in key.lower() for key in parameters)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_is_in_the_scope_or_left_out_for_a_reason(name: str) -> None:
    model = classifier(name, transformers.AutoModel)
    inside, outside = scope_parameters(model, "encoder"), reasons_left_out(model, "encoder")
    everything = dict(backbone(model).named_parameters())
    assert {*inside, *outside} == {*everything}
    assert not {*inside} & {*outside}
    assert left_out(model, "encoder").keys() <= outside.keys()
    for key, (parameter, reason) in outside.items():
        assert parameter is everything[key]
        assert (reason == "pooler") == key.startswith("pooler.") or reason.startswith("vector")
        if parameter.ndim == 1:
            assert reason.startswith("vector") or "embed" in key.lower()


def test_what_is_left_out_is_called_by_what_it_is() -> None:
    electra = transformers.ElectraConfig(
        embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=8
    )
    conv = transformers.ConvBertConfig(
        embedding_size=16, hidden_size=16, num_attention_heads=2, intermediate_size=8
    )
    reasons = {
        name: reason
        for config in (electra, conv)
        for name, (_, reason) in reasons_left_out(
            transformers.AutoModel.from_config(config), "encoder"
        ).items()
    }
    wide = "encoder.layer.0.attention.self.key_conv_attn_layer.depthwise.weight"
    assert reasons["embeddings_project.weight"] == "matrix outside the repeated blocks"
    assert reasons["embeddings.word_embeddings.weight"] == "embedding table"
    assert reasons["encoder.layer.0.output.LayerNorm.weight"] == "vector, such as a bias"
    assert reasons[wide] == "convolution wider than one"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_names_and_order_are_the_same_with_and_without_a_head(name: str) -> None:
    model = classifier(name)
    bare = classifier(name, transformers.AutoModel)
    assert list(scope_parameters(model, "encoder")) == list(scope_parameters(bare, "encoder"))
    assert set(scope_parameters(model, "encoder")) <= set(dict(backbone(model).named_parameters()))


@pytest.mark.parametrize("name", ["bert", "albert"])
def test_the_pooler_adds_its_matrix(name: str) -> None:
    model = classifier(name)
    extra = scope_parameters(model, "encoder+pooler").keys() - scope_parameters(model, "encoder")
    assert [scope_parameters(model, "encoder+pooler")[key].shape for key in extra] == [
        (HIDDEN, HIDDEN)
    ]


@pytest.mark.parametrize("head", ["MaskedLM", "QuestionAnswering"])
def test_a_backbone_without_a_pooler_says_so_in_one_line(head: str) -> None:
    model = getattr(transformers, f"BertFor{head}")(ARCHITECTURES["bert"].make())
    with pytest.raises(ModelError, match="Use the scope 'encoder'") as caught:
        scope_parameters(model, "encoder+pooler")
    assert "\n" not in str(caught.value)


def test_a_network_without_blocks_has_nothing_to_prune() -> None:
    with pytest.raises(ModelError, match="ModuleList"):
        scope_parameters(nn.Sequential(nn.Linear(3, 3)), "encoder")


def test_a_weight_shared_by_two_blocks_counts_once() -> None:
    blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
    model = nn.ModuleDict({"blocks": blocks})
    assert list(scope_parameters(model, "encoder")) == ["blocks.0.weight", "blocks.1.weight"]
    blocks[1].weight = blocks[0].weight
    assert list(scope_parameters(model, "encoder")) == ["blocks.0.weight"]
    assert whole_model_size(model) == 9 + 3 + 3


def test_the_whole_model_leaves_heads_out() -> None:
    model = classifier("bert")
    assert isinstance(model, transformers.PreTrainedModel)
    head = 2 * HIDDEN + 2
    assert whole_model_size(model) == model.num_parameters() - head


def test_a_mistyped_scope_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="encoder"):
        scope_parameters(classifier("bert"), "encodre")
    assert set(SCOPES) == {*SCOPE_NAMES} == {"encoder", "encoder+pooler"}


# matrices that are no linear layer's

MAMBA = ("A_log", "conv1d.weight")
ZAMBA = (*MAMBA, "D", "dt_proj_bias")
RELATIVE = "block.*.layer.*.SelfAttention.relative_attention_bias.weight"
RGLRU = ("conv_1d.weight", "rg_lru.input_gate_bias", "rg_lru.recurrent_gate_bias")
GPT_OSS = tuple(f"layers.*.mlp.experts.{n}_proj_bias" for n in ("down", "gate_up"))
TWO = {"num_hidden_layers": 2}
UNUSUAL: dict[str, tuple[dict[str, int], int, tuple[str, ...]]] = {
    "mixtral": (TWO, 2 * 2, ()),
    "qwen2_moe": (TWO, 2 * 2, ()),
    "phimoe": (TWO, 2 * 2, ()),
    "llama4_text": (TWO, 2 * 2, ()),
    "jetmoe": (TWO, 4 * 2, ()),
    "gpt_oss": (
        TWO,
        2 * 2,
        GPT_OSS,
    ),
    "deepseek_v3": ({"num_hidden_layers": 4}, 2, ()),
    "granitemoehybrid": (TWO, 2 * 2, ("layers.*.mamba.conv1d.weight",)),
    "qwen3_next": ({"num_hidden_layers": 4}, 2 * 4, ("layers.*.linear_attn.conv1d.weight",)),
    "jamba": ({"num_hidden_layers": 5}, 2 * 2, tuple(f"layers.*.mamba.{n}" for n in MAMBA)),
    "zamba": (
        {"num_hidden_layers": 8},
        2 * 8,
        tuple(f"layers.*.{place}mamba.{n}" for place in ("", "mamba_decoder.") for n in ZAMBA),
    ),
    "mamba": (TWO, 0, tuple(f"layers.*.mixer.{n}" for n in MAMBA)),
    "recurrent_gemma": (
        {"num_hidden_layers": 3},
        2 * 2,
        tuple(f"layers.*.temporal_block.{n}" for n in RGLRU),
    ),
    "xlnet": (
        {"n_layer": 2},
        5 * 2,
        tuple(f"layer.*.rel_attn.{n}" for n in ("r_r_bias", "r_s_bias", "r_w_bias", "seg_embed")),
    ),
    "convbert": (
        TWO,
        2,
        tuple(
            f"encoder.layer.*.attention.self.key_conv_attn_layer.{n}"
            for n in ("bias", "depthwise.weight")
        ),
    ),
    "squeezebert": (TWO, 6 * 2, ()),
    "ibert": (TWO, 0, ()),
    "nystromformer": (TWO, 0, ("encoder.layer.*.attention.self.conv.weight",)),
    "t5": ({"num_layers": 2}, 0, (f"encoder.{RELATIVE}", f"decoder.{RELATIVE}")),
}
"""Type -> configuration, matrices of three axes in the scope, what it leaves out of the blocks."""


@pytest.mark.parametrize("name", UNUSUAL)
def test_every_matrix_of_the_blocks_is_in_the_scope_or_listed(name: str) -> None:
    settings, stacks, listed = UNUSUAL[name]
    with torch.device("meta"):
        config = transformers.AutoConfig.for_model(name, **settings)
        model: Any = transformers.AutoModel.from_config(config)
    inside, outside = scope_parameters(model, "encoder"), left_out(model, "encoder")
    blocks = {
        key
        for key, weight in model.named_parameters()
        if weight.ndim > 1 and re.search(r"(^|\.)\d+\.", key)
    }
    assert blocks
    assert blocks == inside.keys() | outside.keys()
    assert not inside.keys() & outside.keys()
    assert {starred(key) for key in outside} == set(listed)
    assert sum(weight.ndim == 3 for weight in inside.values()) == stacks
    assert bool(beyond_linear(model)) == (name not in ("mamba", "nystromformer", "t5"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scopes_of_linear_layers_alone_keep_their_names(name: str) -> None:
    model = classifier(name)
    assert beyond_linear(model) == ()
    assert left_out(model, "encoder") == {}


def test_attention_of_torch_s_own_is_in_the_scope() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    names = {starred(name) for name in scope_parameters(model, "encoder")}
    linear = ("self_attn.out_proj", "linear1", "linear2")
    assert names == {"layers.*.self_attn.in_proj_weight", *(f"layers.*.{n}.weight" for n in linear)}
