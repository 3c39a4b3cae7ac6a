"""A scope is found by structure in every architecture, and heads don't matter."""

from typing import Any

import pytest
import transformers
from torch import nn

from architectures import ARCHITECTURES, HIDDEN
from tombola.errors import ModelError, SpecError
from tombola.ticket.scope import SCOPES, backbone, scope_parameters, whole_model_size


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
    with pytest.raises(ModelError, match="Take the scope 'encoder'") as caught:
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
    assert set(SCOPES) == {"encoder", "encoder+pooler"}
