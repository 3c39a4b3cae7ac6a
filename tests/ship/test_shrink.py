"""A shrunk network is smaller and says the same; the one that it was made of stays as it is."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from architectures import ARCHITECTURES
from small_network import BATCH, network, structured, ticket_of_mask
from tombola.base.errors import ModelError, TicketError
from tombola.ship.compiled.cutting import matrix
from tombola.ship.compiled.layouts import LAYOUTS, Attention, Neurons, layouts_in
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

IDS = torch.arange(3, 33).reshape(3, 10)
PADDED = torch.ones(3, 10, dtype=torch.long)
PADDED[1, 6:] = PADDED[2, 2:] = 0


def made(name: str) -> PreTrainedModel:
    """A tiny network of an architecture whose biases are not zero."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(ARCHITECTURES[name].make()).eval()
    with torch.no_grad():
        for each, parameter in model.named_parameters():
            if each.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


@torch.no_grad()
def said(model: nn.Module) -> Tensor:
    """What a network gives for each token that is not padding."""
    found: Tensor = model(input_ids=IDS, attention_mask=PADDED).last_hidden_state
    return found[PADDED.bool()]


def ticket_of(model: nn.Module) -> Ticket:
    """The ticket of the zeros in a network's encoder."""
    parameters = scope_parameters(model, "encoder")
    mask = Mask({name: weight.detach() != 0 for name, weight in parameters.items()})
    return ticket_of_mask(mask)


def size(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def layer(block: nn.Module, name: str) -> Any:
    return block.get_submodule(name)


@torch.no_grad()
def unread(block: nn.Module, layout: Attention | Neurons) -> None:
    """Nothing reads the first half of the heads or the neurons."""
    weights = matrix(layer(block, layout.out))
    weights[:, : weights.shape[1] // 2] = 0


@torch.no_grad()
def unshown(block: nn.Module, layout: Attention | Neurons) -> None:
    """The second half of the heads' values or of the neurons reads nothing."""
    name = layout.into[-1] if isinstance(layout, Attention) else layout.into
    width = matrix(layer(block, layout.out)).shape[1]
    weights = matrix(layer(block, name))
    for start in range(0, len(weights), width):
        if isinstance(layout, Neurons) or start == len(weights) - width:
            weights[start + width // 2 : start + width] = 0


@pytest.mark.parametrize("prune", [unread, unshown])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_says_the_same_without_dead_heads_and_neurons(
    name: str, prune: Callable[[nn.Module, Attention | Neurons], None]
) -> None:
    model = made(name)
    blocks = [*layouts_in(model)]
    kinds = {type(layout) for _, layout in blocks}
    assert kinds == ({Neurons} if name == "mpnet" else {Attention, Neurons})
    for block, layout in blocks:
        prune(block, layout)
    before, kept = said(model), copy.deepcopy(model.state_dict())
    small = ticket_of(model).shrink(model)
    assert type(small) is type(model)
    assert size(small) < size(model)
    for block, layout in layouts_in(small):
        width = matrix(layer(block, layout.out)).shape[1]
        assert width == (8 if isinstance(layout, Attention) else 12)
    assert torch.allclose(said(small), before, atol=2e-6)
    assert all(torch.equal(kept[n], each) for n, each in model.state_dict().items())
    assert torch.equal(said(model), before)


@pytest.mark.parametrize("sparsity", ["0.5", "0.95"])
def test_a_structured_ticket_becomes_a_smaller_dense_network(sparsity: str) -> None:
    model = network().eval()
    ticket = structured(model, sparsity)
    ticket.apply(model)
    small = ticket.shrink(model)
    kept = sum(int(each.sum()) for each in ticket.mask.values())
    scope = sum(each.numel() for each in scope_parameters(small, "encoder").values())
    least = 2 * (16 * 8 * 4 + 16 * 2)  # a head and a neuron of each block
    assert scope <= kept + least < ticket.mask.size
    with torch.no_grad():
        assert torch.allclose(small(**BATCH).logits, model(**BATCH).logits, atol=1e-6)


def test_a_shrunk_network_is_copied_pickled_and_trained() -> None:
    model = network()
    ticket = structured(model, "0.5")
    small = ticket.shrink(ticket.apply(model))
    assert small.training
    copied: nn.Module = pickle.loads(pickle.dumps(copy.deepcopy(small)))
    copied.eval(), small.eval()
    with torch.no_grad():
        assert torch.equal(copied(**BATCH).logits, small(**BATCH).logits)
    small(**BATCH).loss.backward()
    assert all(each.grad is not None for each in scope_parameters(small, "encoder").values())


def test_alike_blocks_can_be_saved_and_others_say_what_to_do(tmp_path: Path) -> None:
    model = network().eval()
    for block, layout in layouts_in(model):
        if isinstance(layout, Neurons):
            unread(block, layout)
    ticket = ticket_of(model)
    small = ticket.shrink(model)
    small.save_pretrained(tmp_path / "small")
    again = type(model).from_pretrained(tmp_path / "small").eval()
    assert (again.config.intermediate_size, model.config.intermediate_size) == (12, 24)
    with torch.no_grad():
        assert torch.equal(again(**BATCH).logits, small(**BATCH).logits)

    attention = model.bert.encoder.layer[0].attention.output.dense
    with torch.no_grad():
        attention.weight[:, :8] = 0
    small = ticket_of(model).shrink(model)
    refusal = "expected a network that config.json describes, got one whose blocks .*shrink"
    with pytest.raises(ModelError, match=refusal):
        small.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_has_no_known_blocks_stays_dense() -> None:
    model = made("bert")
    ticket = structured(model, "0.5")
    ticket.apply(model).config.__dict__["model_type"] = "of-my-own"
    small = ticket.shrink(model)
    assert size(small) == size(model)
    assert torch.equal(said(small), said(model))
    assert {*LAYOUTS} >= {ARCHITECTURES[name].config.model_type for name in ARCHITECTURES}


def test_a_network_that_is_not_under_the_ticket_is_refused() -> None:
    model = network()
    ticket = structured(model, "0.5")
    with pytest.raises(
        TicketError, match=r"expected zeros where .*, got .* other weights\. .*apply"
    ):
        ticket.shrink(model)
    with pytest.raises(TicketError, match="differ first at"):
        ticket.shrink(made("distilbert"))
    with pytest.raises(TicketError, match="expected a torch network, got str"):
        ticket.shrink("mini")  # type: ignore[type-var]


SHARED = {
    "neurons": "intermediate",
    "the layer before the neurons": "intermediate.dense",
    "the layer after the neurons": "output.dense",
    "heads": "attention.self",
    "the queries": "attention.self.query",
    "the layer after the heads": "attention.output.dense",
    "a block": "",
}


@pytest.mark.parametrize("shared", SHARED)
def test_layers_that_blocks_share_are_not_cut_twice(shared: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = made("bert")
    blocks = model.encoder.layer
    blocks.append(copy.deepcopy(blocks[0]))
    place, _, name = SHARED[shared].rpartition(".")
    if name:
        setattr(layer(blocks[1], place), name, layer(blocks[0], SHARED[shared]))
    else:
        blocks[1] = blocks[0]
    for block, layout in layouts_in(model):
        unread(block, layout)
    ticket, before = ticket_of(model), said(model)
    small = ticket.shrink(model)
    assert size(small) < size(model)
    assert torch.allclose(said(small), before, atol=2e-6)
    assert torch.allclose(said(ticket.compile(model)), before, atol=2e-5)
    with pytest.raises(ModelError, match="whose blocks have been shrunk"):
        small.save_pretrained(tmp_path)
