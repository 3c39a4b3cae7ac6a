"""A held ticket: pruned weights stay +0.0 in any loop, and no hook is left behind."""

import copy
import gc
import io
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import LBFGS, SGD, Adafactor, Adagrad, AdamW, Muon, Optimizer, RMSprop
from torch.optim.swa_utils import AveragedModel
from transformers import BertForSequenceClassification

from small_network import BATCH, network, revived
from tombola.base.errors import ModelError, TicketError
from tombola.ticket.hold.network import hold_model
from tombola.ticket.hold.places import masked_parameters, unwrapped
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket


def train(model: nn.Module, optimizer: Optimizer, steps: int = 3) -> None:
    for _ in range(steps):

        def loss() -> float:
            optimizer.zero_grad()
            value: Tensor = model(**BATCH).loss
            value.backward()
            return float(value.detach())

        optimizer.step(loss)


def matrices(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.ndim == 2]


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "AdamW": lambda model: AdamW(model.parameters(), lr=0.1, weight_decay=0.1),
    "fused AdamW": lambda model: AdamW(model.parameters(), lr=0.1, fused=True),
    "foreach AdamW": lambda model: AdamW(model.parameters(), lr=0.1, foreach=True),
    "SGD with momentum": lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "Adafactor": lambda model: Adafactor(model.parameters(), lr=0.1),
    "Adagrad": lambda model: Adagrad(model.parameters(), lr=0.1),
    "RMSprop": lambda model: RMSprop(model.parameters(), lr=0.1),
    "Muon": lambda model: Muon(matrices(model), lr=0.1),
    "LBFGS": lambda model: LBFGS(model.parameters(), lr=0.1, max_iter=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_revives_a_weight(ticket: Ticket, name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model)
    train(model, optimizer)  # moments of the pruned weights, too
    with ticket.hold(model):
        for _ in range(3):
            train(model, optimizer, steps=1)
            assert revived(model, ticket) == 0
    free = masked_parameters(network(), ticket.mask)
    moved = masked_parameters(model, ticket.mask)
    assert all((moved[name] != free[name])[ticket.mask[name]].any() for name in free)


def test_without_hold_they_all_come_back(ticket: Ticket) -> None:
    model = ticket.apply(network())
    train(model, AdamW(model.parameters(), lr=0.1))
    assert revived(model, ticket) > ticket.mask.pruned * 0.9


class Plain(Optimizer):
    """Writes where no version counter sees it."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        value = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.add_(1.0)
        return value


def test_an_optimizer_of_another_library_is_held_too(ticket: Ticket) -> None:
    model = network()
    with ticket.hold(model):
        train(model, Plain(model.parameters()))
        assert revived(model, ticket) == 0


def test_weights_changed_without_an_optimizer_are_zero_in_the_next_forward_pass(
    ticket: Ticket, tmp_path: Path
) -> None:
    model, whole = network(), network()
    with ticket.hold(model):
        model.load_state_dict(whole.state_dict())
        model(**BATCH)
        assert revived(model, ticket) == 0
        model.load_state_dict(copy.deepcopy(whole.state_dict()), assign=True)
        model.save_pretrained(tmp_path / "model")
        saved = BertForSequenceClassification.from_pretrained(tmp_path / "model")
        assert revived(saved, ticket) == 0
        train(model, AdamW(model.parameters(), lr=0.1))  # of the parameters that took their place
        assert revived(model, ticket) == 0
        assert gradient_norm_of_pruned(model, ticket) == 0


def test_a_compiled_network_and_one_without_its_head_are_zero_after_other_weights_are_loaded(
    ticket: Ticket,
) -> None:
    model, whole = network(), network().state_dict()
    outer = torch.compile(model, backend="eager")
    assert isinstance(outer, nn.Module)
    with ticket.hold(model):
        outer.load_state_dict({f"_orig_mod.{name}": weight for name, weight in whole.items()})
        assert revived(model, ticket) == 0
        rewrite(model, ticket)
        model.bert(input_ids=BATCH["input_ids"])
        assert revived(model, ticket) == 0
        rewrite(model, ticket)
        model.bert.state_dict()
        assert revived(model, ticket) == 0


def rewrite(model: nn.Module, ticket: Ticket) -> None:
    for weight in masked_parameters(model, ticket.mask).values():
        weight.data.fill_(1.0)
    assert revived(model, ticket)


def test_a_step_may_have_several_passes_evaluations_and_copies_before_its_backward_pass(
    ticket: Ticket,
) -> None:
    held, free = network().eval(), ticket.apply(network().eval())
    head = AdamW(held.classifier.parameters(), lr=0.0)
    with ticket.hold(held):
        loss = held(**BATCH).loss + held(**BATCH).loss
        with torch.no_grad():
            held(**BATCH)
        held.state_dict()
        head.step()  # an optimizer of something else, such as the other of two networks
        loss.backward()
    (free(**BATCH).loss + free(**BATCH).loss).backward()
    theirs = masked_parameters(free, ticket.mask)
    for name, weight in masked_parameters(held, ticket.mask).items():
        assert weight.grad is not None
        expected = theirs[name].grad
        assert expected is not None
        assert torch.equal(weight.grad, expected * ticket.mask[name])


def test_what_changes_weights_after_a_forward_pass_is_still_seen_by_autograd(
    ticket: Ticket,
) -> None:
    model = network()
    loss = model(**BATCH).loss
    with ticket.hold(model), pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_forward_pass_that_fails_leaves_the_next_one_held(ticket: Ticket) -> None:
    model = network()
    with ticket.hold(model):
        with pytest.raises(IndexError):
            model(input_ids=torch.tensor([[40]]))
        rewrite(model, ticket)
        model(**BATCH)
        assert revived(model, ticket) == 0


def gradient_norm_of_pruned(model: nn.Module, ticket: Ticket) -> float:
    model.zero_grad()
    model(**BATCH).loss.backward()
    return float(
        sum(
            weight.grad[~ticket.mask[name]].abs().sum()
            for name, weight in masked_parameters(model, ticket.mask).items()
            if weight.grad is not None
        )
    )


def test_gradients_are_zero_before_they_are_clipped_and_after_accumulation(ticket: Ticket) -> None:
    model = network()
    with ticket.hold(model):
        for _ in range(2):
            model(**BATCH).loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        kept = [
            weight.grad[ticket.mask[name]].flatten()
            for name, weight in masked_parameters(model, ticket.mask).items()
            if weight.grad is not None
        ]
        scoped = {id(weight) for weight in masked_parameters(model, ticket.mask).values()}
        others = [
            weight.grad.flatten()
            for weight in model.parameters()
            if id(weight) not in scoped and weight.grad is not None
        ]
        assert norm == pytest.approx(float(torch.cat([*kept, *others]).norm()), rel=1e-6)
        assert gradient_norm_of_pruned(model, ticket) == 0
    assert gradient_norm_of_pruned(model, ticket) > 0


def test_held_gradients_have_derivatives_as_a_penalty_on_them_needs(ticket: Ticket) -> None:
    model = network().eval()
    ticket.apply(model)
    masked = masked_parameters(model, ticket.mask)

    def penalised() -> dict[str, Tensor]:
        model.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
            loss: Tensor = model(**BATCH).loss
            found = torch.autograd.grad(loss, [*masked.values()], create_graph=True)
            kept = (g * ticket.mask[name] for name, g in zip(masked, found, strict=True))
            torch.stack([g.square().sum() for g in kept]).sum().backward()
        return {n: w.grad * ticket.mask[n] for n, w in masked.items() if w.grad is not None}

    free = penalised()
    with ticket.hold(model):
        held = penalised()
    assert held.keys() == free.keys() == masked.keys()
    assert max(float(gradient.abs().max()) for gradient in free.values()) > 0
    for name, gradient in held.items():
        torch.testing.assert_close(gradient, free[name])


def test_parameters_frozen_at_first_are_held_once_they_are_trained(ticket: Ticket) -> None:
    model = network().requires_grad_(False)
    with ticket.hold(model):
        model.requires_grad_(True)
        assert gradient_norm_of_pruned(model, ticket) == 0


def hooks(model: nn.Module) -> int:
    everywhere = [*model.modules()]
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks", "_state_dict_hooks")
    of_modules = sum(len(getattr(module, kind)) for module in everywhere for kind in kinds)
    of_gradients = sum(len(weight._backward_hooks or ()) for weight in model.parameters())
    return of_modules + of_gradients + len(global_hooks())


def global_hooks() -> Any:
    from torch.optim import optimizer

    return optimizer._global_optimizer_post_hooks


def test_it_ends_without_a_trace_also_after_an_error(ticket: Ticket) -> None:
    model = network()
    before = hooks(model)
    with ticket.hold(model):
        assert hooks(model) > before
    assert hooks(model) == before
    with pytest.raises(ZeroDivisionError), ticket.hold(model):
        1 / 0  # noqa: B018
    assert hooks(model) == before
    with (
        pytest.raises(TicketError, match="no such tensor"),
        ticket.hold(network(num_hidden_layers=1)),
    ):
        pass
    assert not global_hooks()


def test_a_copy_of_a_held_network_has_the_zeros_and_is_free(ticket: Ticket) -> None:
    model, pickled = network(), io.BytesIO()
    with ticket.hold(model):
        copied = copy.deepcopy(model)
        average = AveragedModel(model)
        train(model, SGD(model.parameters(), lr=0.1))
        average.update_parameters(model)
        torch.save(model, pickled)
        assert revived(average.module, ticket) == 0
    pickled.seek(0)
    for other in (copied, average.module, torch.load(pickled, weights_only=False)):
        assert revived(other, ticket) == 0
        train(other, SGD(other.parameters(), lr=0.1))
        assert revived(other, ticket) > 0


def test_a_network_that_nobody_lets_go_of_is_freed_all_the_same(ticket: Ticket) -> None:
    model = network()
    forgotten = ticket.hold(model)
    forgotten.__enter__()
    reference = weakref.ref(model)
    assert global_hooks()
    del model, forgotten
    gc.collect()
    assert reference() is None
    assert not global_hooks()


def test_two_networks_are_held_at_once(ticket: Ticket) -> None:
    one, two = network(), network()
    with ticket.hold(one):
        with ticket.hold(two):
            train(one, AdamW(one.parameters(), lr=0.1))
            train(two, AdamW(two.parameters(), lr=0.1))
            assert revived(one, ticket) == revived(two, ticket) == 0
        train(two, AdamW(two.parameters(), lr=0.1))
        train(one, AdamW(one.parameters(), lr=0.1))
        assert revived(one, ticket) == 0 < revived(two, ticket)


def test_a_step_in_another_thread_fills_only_the_networks_that_take_it(ticket: Ticket) -> None:
    model, other = network(), nn.Linear(2, 2)
    theirs, ours = SGD(other.parameters(), lr=0.1), SGD(model.parameters(), lr=0.1)
    for parameter in (*model.parameters(), *other.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    with ticket.hold(model):
        for optimizer, there in ((theirs, True), (ours, False)):
            rewrite(model, ticket)
            thread = threading.Thread(target=optimizer.step)
            thread.start()
            thread.join()
            assert bool(revived(model, ticket)) == there
        rewrite(model, ticket)
        theirs.step()  # an optimizer may have copies of our parameters, and write to both
        assert revived(model, ticket) == 0


def replaced(model: Any) -> None:
    layer = model.bert.encoder.layer[0].output.dense
    weight = layer.weight.detach().clone()
    del layer.weight  # so that the next one may have its id
    layer.weight = nn.Parameter(weight)


def swapped(model: Any) -> None:
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model.load_state_dict(network().state_dict())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def another_block(model: Any) -> None:
    model.bert.encoder.layer[0] = copy.deepcopy(network().bert.encoder.layer[0])


def another_body(model: Any) -> None:
    model.bert = network().bert


@pytest.mark.parametrize("change", [replaced, swapped, another_block, another_body])
def test_what_takes_a_parameter_s_place_is_held(
    ticket: Ticket, change: Callable[[Any], None]
) -> None:
    model = network()
    with ticket.hold(model):
        change(model)
        train(model, SGD(model.parameters(), lr=0.1), steps=1)
        assert revived(model, ticket) == 0
        assert gradient_norm_of_pruned(model, ticket) == 0


def test_a_weight_that_is_computed_from_others_is_refused(ticket: Ticket) -> None:
    model: Any = network()
    with ticket.hold(model):
        nn.utils.parametrizations.weight_norm(model.bert.encoder.layer[0].output.dense)
        with pytest.raises(TicketError, match="replaced or parametrised in the block"):
            model(**BATCH)
        nn.utils.parametrize.remove_parametrizations(
            model.bert.encoder.layer[0].output.dense, "weight"
        )
    assert revived(model, ticket) == 0


def test_a_network_that_goes_through_the_meta_device_is_held_again(ticket: Ticket) -> None:
    model = network()
    with ticket.hold(model):
        nn.Module.to(model, "meta")
        with pytest.raises(TicketError, match="on the meta device or offloaded"):
            model(**BATCH)
        model.to_empty(device="cpu")
        model.load_state_dict(network().state_dict())
        for buffer, theirs in zip(model.buffers(), network().buffers(), strict=True):
            buffer.copy_(theirs)
        assert revived(model, ticket) == 0
        train(model, SGD(model.parameters(), lr=0.1), steps=1)
        assert gradient_norm_of_pruned(model, ticket) == 0


def test_an_interrupted_forward_pass_leaves_the_next_one_held(ticket: Ticket) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model = network()
    with ticket.hold(model):
        hook = model.bert.encoder.layer[0].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(**BATCH)
        hook.remove()
        rewrite(model, ticket)
        model(**BATCH)
        assert revived(model, ticket) == 0


def test_a_hold_is_entered_again_and_warns_if_it_never_was(ticket: Ticket) -> None:
    model = network()
    held = ticket.hold(model)
    for _ in range(2):
        with held:
            train(model, SGD(model.parameters(), lr=0.1), steps=1)
            assert revived(model, ticket) == 0
        train(model, SGD(model.parameters(), lr=0.1), steps=1)
        assert revived(model, ticket)
    with pytest.warns(UserWarning, match=r"write `with ticket\.hold\(model\):`"):
        ticket.hold(model)
    ticket.hold(model).__enter__()
    train(model, SGD(model.parameters(), lr=0.1), steps=1)
    assert revived(model, ticket) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_in_half_precision_are_held(ticket: Ticket, dtype: torch.dtype) -> None:
    model: Any = network()
    model.to(dtype)
    with ticket.hold(model):
        train(model, SGD(model.parameters(), lr=0.1, momentum=0.9))
        assert revived(model, ticket) == 0


def test_autocast_and_a_gradient_scaler_change_nothing(ticket: Ticket) -> None:
    model = network()
    optimizer = AdamW(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with ticket.hold(model):
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(**BATCH).loss
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            assert revived(model, ticket) == 0


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
        with pytest.raises(TicketError, match=f"sharded by {library}"), ticket.hold(sharded):
            pass
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
    with pytest.raises(TicketError, match=f"a network of torch, got {type(wrong).__name__}"):
        ticket.apply(wrong)


def test_the_error_names_the_network_in_a_module_of_one_s_own(ticket: Ticket) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = network(), nn.Linear(2, 2)

    model = Own()
    with pytest.raises(TicketError, match=r"It is of the module 'net' in there\."):
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
