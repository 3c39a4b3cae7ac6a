"""A ticket in transformers' Trainer on a card: pruned weights stay zero in each precision."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainings import DEVICE, needs_card

from small_network import network, revived
from small_trainer import Witness, trainer
from tombola.ticket.ticket import Ticket

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(torch.cuda.device_count() > 1, reason="Trainer wraps it for several cards"),
]

PRECISIONS = [
    {},
    {"bf16": True},
    pytest.param({"fp16": True}, marks=needs_card("fp16 trains on a card only")),
]


USE_CPU = {"use_cpu": DEVICE == "cpu"}


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "sgd"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_trainer_never_sees_a_revived_weight(
    precision: dict[str, bool], optimizer: str, ticket: Ticket, tmp_path: Path
) -> None:
    witness = Witness(ticket)
    training = trainer(ticket, tmp_path, witness, optim=optimizer, **USE_CPU, **precision)
    before = {name: weight.detach().cpu().clone() for name, weight in network().named_parameters()}
    training.train()
    assert len(witness.seen) >= 8
    assert set(witness.seen) == {0}
    assert witness.devices == {DEVICE}
    assert training.model is not None
    after = {name: weight.detach().cpu() for name, weight in training.model.named_parameters()}
    assert any(not torch.equal(after[name], before[name]) for name in after)
    copies = sorted(tmp_path.glob("checkpoint-*/model.safetensors"))
    assert copies
    for place in copies:
        saved = network()
        saved.load_state_dict(load_file(place))
        assert revived(saved, ticket) == 0


def test_a_resumed_training_goes_on_under_the_ticket(ticket: Ticket, tmp_path: Path) -> None:
    trainer(ticket, tmp_path, num_train_epochs=1, **USE_CPU).train()
    witness = Witness(ticket)
    trainer(ticket, tmp_path, witness, **USE_CPU).train(resume_from_checkpoint=True)
    assert set(witness.seen) == {0}
    assert witness.devices == {DEVICE}
