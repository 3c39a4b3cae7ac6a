"""A compiled network skips the zeros and says the same; the one it was made of stays as it is."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModel,
    MambaConfig,
    MambaModel,
    PreTrainedModel,
    T5Config,
    T5EncoderModel,
)

from architectures import ARCHITECTURES
from small_network import BATCH, network, structured
from tombola.base.errors import ModelError, SpecError, TicketError
from tombola.kernel.sparse.linear import SparseLinear
from tombola.ship.compiled import compile as compiling
from tombola.ship.compiled.compile import weight_bytes
from tombola.ship.lora import merge_lora
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

IDS = torch.arange(3, 33).reshape(3, 10)


@pytest.fixture(autouse=True)
def _it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse wherever half of the weights are zero, on any machine."""
    monkeypatch.setattr(compiling, "available", lambda: True)
    monkeypatch.setattr(compiling, "pays", lambda i, o, sparsity, *_, **__: sparsity >= 0.5)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=BATCH["input_ids"]).logits
    return found


def sparse_layers(model: nn.Module) -> int:
    return sum(isinstance(each, SparseLinear) for each in model.modules())


@pytest.mark.parametrize(
    ("dtype", "apart"), [("float32", 1e-6), ("bfloat16", 5e-3), ("int8", 2e-2)]
)
def test_a_compiled_network_says_the_same(ticket: Ticket, dtype: str, apart: float) -> None:
    model = ticket.apply(network())
    kept = copy.deepcopy(model.state_dict())
    compiled = ticket.compile(model, dtype=dtype)
    assert type(compiled) is type(model)
    assert sparse_layers(compiled) == len(ticket.mask) == 13
    assert not compiled.training
    assert not any(each.requires_grad for each in compiled.parameters())
    assert model.training
    assert all(each.requires_grad for each in model.parameters())
    assert all(torch.equal(kept[n], each) for n, each in model.state_dict().items())
    said = logits(model.eval())
    assert torch.allclose(logits(compiled), said, atol=apart)
    assert (dtype == "float32") or not torch.equal(logits(compiled), said)


@pytest.mark.parametrize(
    ("activation", "joined"), [("gelu", True), ("gelu_new", False), ("relu", False)]
)
def test_gelu_is_left_to_the_layer_before_it(activation: str, joined: bool) -> None:
    model = network(hidden_act=activation)
    ticket = structured(model, "0.7", structure="unstructured")
    compiled = ticket.compile(ticket.apply(model))
    blocks: Any = compiled.bert.encoder.layer
    assert [block.intermediate.dense.gelu for block in blocks] == [joined] * 2
    functions = [block.intermediate.intermediate_act_fn for block in blocks]
    assert [isinstance(each, nn.Identity) for each in functions] == [joined] * 2
    assert torch.allclose(logits(compiled), logits(model.eval()), atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_compiled(name: str) -> None:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(ARCHITECTURES[name].make()).eval()
    ticket = structured(model, "0.7", structure="unstructured")
    ticket.apply(model)
    compiled = ticket.compile(model)
    assert sparse_layers(compiled) > 0
    with torch.no_grad():
        ours, theirs = compiled(IDS).last_hidden_state, model(IDS).last_hidden_state
    assert torch.allclose(ours, theirs, atol=5e-6)


def test_where_it_does_not_pay_a_layer_stays_dense(
    ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(compiling, "pays", lambda *args, **named: asked.append((args, named)))
    model = ticket.apply(network()).eval()
    compiled = ticket.compile(model, dtype="bfloat16", tokens=7)
    assert sparse_layers(compiled) == 0
    assert torch.equal(logits(compiled), logits(model))
    (inputs, outputs, sparsity, tokens), named = asked[-1]
    assert (inputs, outputs, tokens) == (16, 16, 7)
    assert 0.4 < sparsity < 0.8
    assert named == {"work": "bfloat16", "threads": torch.get_num_threads()}


def test_a_compiled_network_is_copied_and_pickled(ticket: Ticket) -> None:
    compiled = ticket.compile(ticket.apply(network()))
    again: nn.Module = pickle.loads(pickle.dumps(copy.deepcopy(compiled)))
    assert torch.equal(logits(again), logits(compiled))


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16])
def test_the_rest_of_a_compiled_network_can_have_another_dtype(
    ticket: Ticket, convert: Callable[[nn.Module], nn.Module]
) -> None:
    compiled = ticket.compile(ticket.apply(network()))
    expected = logits(compiled)
    assert torch.allclose(logits(convert(compiled)).float(), expected, atol=1e-2)


def test_layers_whose_block_reads_their_weights_stay_dense() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    model = nn.TransformerEncoder(block, 2, enable_nested_tensor=False).eval()
    ticket, x = structured(model, "0.6", structure="unstructured"), torch.randn(2, 5, 16)
    compiled = ticket.compile(ticket.apply(model))
    with torch.no_grad():
        assert torch.equal(compiled(x), model(x))


def test_layers_of_mamba_whose_weights_its_mixer_reads_stay_dense() -> None:
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, time_step_rank=8)
    model = MambaModel(config).eval()
    ticket = structured(model, "0.5", structure="2:4")
    compiled = ticket.compile(ticket.apply(model))
    mixer: Any = compiled.layers[0].mixer
    assert isinstance(mixer.in_proj, SparseLinear)
    assert type(mixer.dt_proj) is nn.Linear
    with torch.no_grad():
        ours, theirs = compiled(IDS).last_hidden_state, model(IDS).last_hidden_state
    assert torch.allclose(ours, theirs, atol=5e-6)


def test_layers_of_which_only_the_dtype_is_read_are_compiled() -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    model = T5EncoderModel(config).eval()
    ticket = structured(model, "0.6", structure="unstructured")
    compiled = ticket.compile(ticket.apply(model))
    assert isinstance(compiled.encoder.block[0].layer[1].DenseReluDense.wo, SparseLinear)
    with torch.no_grad():
        ours, theirs = compiled(IDS).last_hidden_state, model(IDS).last_hidden_state
    assert torch.allclose(ours, theirs, atol=5e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about a name in transformers
def test_adapters_are_merged_before(ticket: Ticket) -> None:
    model = get_peft_model(ticket.apply(network()), LoraConfig(target_modules=["query"], r=2))
    with pytest.raises(
        TicketError, match=r"at base_model.*self\.query\. Merge .*merge_lora\(model, t"
    ):
        ticket.compile(model)
    merged = merge_lora(model, ticket).model
    assert torch.allclose(logits(ticket.compile(merged)), logits(merged.eval()), atol=1e-6)


def test_a_structured_ticket_is_shrunk_first() -> None:
    model = network()
    ticket = structured(model, "0.5")
    compiled = ticket.compile(ticket.apply(model))
    assert weight_bytes(compiled.bert.encoder) < 0.7 * weight_bytes(model.bert.encoder)
    assert torch.allclose(logits(compiled), logits(model.eval()), atol=1e-6)


def test_a_pruned_encoder_takes_less_than_a_quarter_of_the_memory() -> None:
    model = network(hidden_size=256, num_attention_heads=4, intermediate_size=1024)
    ticket = structured(model, "0.9", structure="unstructured")
    dense = weight_bytes(ticket.apply(model).bert.encoder)
    for dtype, share in {"float32": 0.25, "bfloat16": 0.2, "int8": 0.15}.items():
        compiled = ticket.compile(model, dtype=dtype)
        assert weight_bytes(compiled.bert.encoder) < share * dense


def test_a_compiled_network_is_saved_as_what_it_was_made_of(ticket: Ticket, tmp_path: Path) -> None:
    compiled = ticket.compile(ticket.apply(network()))
    with pytest.raises(ModelError, match=r"got a compiled one\. .*load\(folder\)\.compile\(\)"):
        compiled.save_pretrained(tmp_path / "compiled")
    with pytest.raises(ModelError, match="got a compiled one"):
        compiled.bert.save_pretrained(tmp_path / "compiled")
    with pytest.raises(ModelError, match="got a compiled one"):
        compiled.push_to_hub("owner/name")  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]


def test_without_the_extension_it_stays_dense_and_says_so(
    ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "available", lambda: False)
    model = ticket.apply(network()).eval()
    with pytest.warns(UserWarning, match="extension of tombola is not built.*stays dense") as said:
        compiled = ticket.compile(model)
    assert said[0].filename == __file__
    assert torch.equal(logits(compiled), logits(model))


def test_what_cannot_be_compiled_is_refused_in_one_line(ticket: Ticket) -> None:
    model = ticket.apply(network())
    with pytest.raises(SpecError, match="dtype must be one of float32, bfloat16, int8, got 'fp8'"):
        ticket.compile(model, dtype="fp8")
    with pytest.raises(SpecError, match=r"tokens must be texts x length .*, got 0\."):
        ticket.compile(model, tokens=0)
    with pytest.raises(TicketError, match=r"expected zeros .*call `ticket\.apply\(model\)` first"):
        ticket.compile(network())
    with pytest.raises(TicketError, match=r"float32 on the CPU .* got torch\.bfloat16 on cpu for"):
        ticket.compile(ticket.apply(network()).bfloat16())
    with pytest.raises(TicketError, match="expected a torch network, got str"):
        ticket.compile("mini")  # type: ignore[type-var]


def test_scope_leaves_out_the_pooler(ticket: Ticket) -> None:
    model = ticket.apply(network(), scope="encoder")
    assert not (model.get_parameter("bert.pooler.dense.weight") == 0).any()
    with pytest.raises(TicketError, match=r"pooler\.dense\.weight"):
        ticket.compile(model)
    compiled = ticket.compile(model, scope="encoder")
    assert sparse_layers(compiled) == 12 == len(scope_parameters(model, "encoder"))
