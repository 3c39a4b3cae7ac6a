"""What is done to a network while a ticket holds it: replaced, moved, interrupted, in threads."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from held_network import gradient_norm_of_pruned, rewrite, train
from small_network import BATCH, network, revived
from tombola.base.errors import TicketError
from tombola.ticket.ticket import Ticket


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
