"""A held ticket: pruned weights stay +0.0 in any loop, and no hook is left behind."""

import copy
import gc
import io
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import LBFGS, SGD, Adafactor, Adagrad, AdamW, Muon, Optimizer, RMSprop
from torch.optim.swa_utils import AveragedModel
from transformers import BertForSequenceClassification

from held_network import global_hooks, gradient_norm_of_pruned, rewrite, train
from small_network import BATCH, network, revived
from tombola.base.errors import TicketError
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.ticket import Ticket


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
