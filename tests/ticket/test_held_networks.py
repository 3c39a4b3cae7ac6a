"""Which networks a ticket holds: wrapped, compiled and with adapters; others are refused."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from held_network import gradient_norm_of_pruned, rewrite, train
from small_network import BATCH, network, revived
from tombola.base.errors import ModelError, TicketError
from tombola.ticket.hold.network import hold_model
from tombola.ticket.hold.places import unwrapped
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    store = f"file://{tmp_path / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_ddp_is_seen_through(ticket: Ticket, one_process: None) -> None:
    model = nn.parallel.DistributedDataParallel(network())
    with ticket.hold(model):
        train(model, AdamW(model.parameters(), lr=0.1))
        assert revived(model, ticket) == 0
        assert gradient_norm_of_pruned(model, ticket) == 0


def test_data_parallel_and_a_compiled_network_are_seen_through(ticket: Ticket) -> None:
    inner = network()
    for model in (nn.DataParallel(inner), torch.compile(inner, backend="eager")):
        assert isinstance(model, nn.Module)
        assert unwrapped(model) is inner
        with ticket.hold(model):
            train(model, AdamW(model.parameters(), lr=0.1))
            assert revived(model, ticket) == 0
        assert ticket.apply(model) is model


def test_a_network_compiled_in_place_is_held(ticket: Ticket) -> None:
    model = network()
    model.compile(backend="eager")
    compiled = model._compiled_call_impl
    with ticket.hold(model):
        train(model, AdamW(model.parameters(), lr=0.1))
        assert revived(model, ticket) == 0
        rewrite(model, ticket)
        model(**BATCH)
        assert revived(model, ticket) == 0
        free = copy.deepcopy(model)
        rewrite(free, ticket)
        free(**BATCH)
        assert revived(free, ticket)
    assert model._compiled_call_impl is compiled


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate without the state that other tests share, which comes back afterwards."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    kinds = (PartialState, AcceleratorState, GradientState)
    kept = [dict(kind._shared_state) for kind in kinds]
    for kind in kinds:
        kind._shared_state.clear()
    yield
    for kind, state in zip(kinds, kept, strict=True):
        kind._shared_state.clear()
        kind._shared_state.update(state)


def test_accelerate_wraps_what_is_held(ticket: Ticket, fresh_accelerate: None) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
    model = network()
    prepared, optimizer = accelerator.prepare(model, AdamW(model.parameters(), lr=0.1))
    with ticket.hold(prepared):
        for _ in range(4):
            with accelerator.accumulate(prepared):
                accelerator.backward(prepared(**BATCH).loss)
                accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            assert revived(prepared, ticket) == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about a name in transformers
def test_an_adapter_leaves_the_pruned_weights_alone(ticket: Ticket) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(network(), LoraConfig(target_modules=["query", "dense"], r=2))
    with ticket.hold(model):
        train(model, AdamW(model.parameters(), lr=0.1))
        assert revived(model, ticket) == 0
    assert ticket.apply(model) is model


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about a name in transformers
@pytest.mark.parametrize("part", ["pooler", "query"])
def test_a_layer_that_peft_trains_as_a_copy_is_refused(part: str, ticket: Ticket) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["value"], modules_to_save=[part])
    model = get_peft_model(network(), config)
    with pytest.raises(TicketError, match=f"Leave '{part}' out of modules_to_save"):
        ticket.apply(model)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about a name in transformers
def test_rows_without_a_weight_are_refused_under_dora(ticket: Ticket) -> None:
    from peft import LoraConfig, get_peft_model

    empty = ticket.mask["encoder.layer.0.attention.self.query.weight"].clone()
    empty[:3] = False
    mask = Mask({**ticket.mask, "encoder.layer.0.attention.self.query.weight": empty})
    config: dict[str, Any] = {"target_modules": ["query"], "r": 2}
    plain = get_peft_model(network(), LoraConfig(**config))
    with hold_model(plain, mask):
        assert plain(**BATCH).loss.isfinite()
    dora = get_peft_model(network(), LoraConfig(**config, use_dora=True))
    with (
        pytest.raises(TicketError, match=r"got 3 rows of encoder.layer.0.attention.self.query"),
        hold_model(dora, mask),
    ):
        pass


class Quantised(torch.Tensor):
    """A tensor that stands for others, as torchao's do."""


def test_a_sharded_and_a_quantised_network_are_refused(ticket: Ticket) -> None:
    for kind, library in (("FullyShardedDataParallel", "FSDP"), ("DeepSpeedEngine", "DeepSpeed")):
        sharded = type(kind, (nn.Module,), {})()
        sharded.module = network()  # which is not the one to hold, though the ticket fits it
        with pytest.raises(TicketError, match=f"sharded by {library}") as caught:
            ticket.hold(sharded)
        assert "in there" not in str(caught.value)
    model: Any = network()
    layer = model.bert.encoder.layer[0].attention.self.query
    layer.weight = nn.Parameter(torch.zeros(16, 16, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(TicketError, match="uint8"), ticket.hold(model):
        pass
    layer.weight = nn.Parameter(torch.zeros(16, 16).to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(TicketError, match=r"got torch\.float8_e4m3fn for"):
        ticket.apply(model)
    layer.weight = nn.Parameter(Quantised(torch.zeros(16, 16)))
    with pytest.raises(TicketError, match="got Quantised for"):
        ticket.apply(model)
    with pytest.raises(ModelError, match="holds Quantised"):
        scope_parameters(model, "encoder")


def test_weights_that_are_not_in_memory_are_refused(ticket: Ticket) -> None:
    with pytest.raises(TicketError, match="on the meta device or offloaded"):
        ticket.apply(nn.Module.to(network(), "meta"))


@pytest.mark.parametrize("wrong", [None, 5, "bert"])
def test_what_is_no_network_is_refused(wrong: Any, ticket: Ticket) -> None:
    with pytest.raises(TicketError, match=f"a torch network, got {type(wrong).__name__}"):
        ticket.apply(wrong)


def test_the_error_names_the_network_in_a_module_of_one_s_own(ticket: Ticket) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = network(), nn.Linear(2, 2)

    model = Own()
    with pytest.raises(TicketError, match=r"It fits the module 'net' inside\."):
        ticket.apply(model)
    with ticket.hold(model.net):
        assert revived(model.net, ticket) == 0


def test_a_deeper_network_is_refused(ticket: Ticket) -> None:
    with pytest.raises(TicketError, match=r"layer\.2\..*the mask has no such tensor"):
        ticket.apply(network(num_hidden_layers=3))


def test_a_ticket_that_covers_the_pooler_holds_a_network_without_one(ticket: Ticket) -> None:
    from transformers import BertForMaskedLM

    model = BertForMaskedLM(network().config)
    with (
        pytest.raises(TicketError, match="Leave the pooler out with `scope` encoder"),
        ticket.hold(model),
    ):
        pass
    labels = {**BATCH, "labels": BATCH["input_ids"]}
    optimizer = AdamW(model.parameters(), lr=0.1)
    with ticket.hold(model, scope="encoder"):
        model(**labels).loss.backward()
        optimizer.step()
        assert revived(model, ticket, "encoder") == 0
    with pytest.raises(TicketError, match="expected a scope that the ticket covers, got 'decoder'"):
        ticket.apply(model, scope="decoder")
