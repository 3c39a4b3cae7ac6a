"""A ticket in transformers' Trainer on a card: pruned weights stay zero in each precision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset
from trainings import DEVICE, needs_card
from transformers import Trainer, TrainerCallback, TrainingArguments

from small_network import network, revived
from tombola.ship.callbacks.trainer import TicketCallback
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


class Rows(Dataset[dict[str, Tensor]]):
    """Thirty-two rows of six tokens."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        ids = (torch.arange(6) * (place + 1)) % 40
        return {"input_ids": ids, "labels": torch.tensor(place % 2)}


class Witness(TrainerCallback):
    """Counts revived weights after every step, evaluation and copy."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.seen: list[int] = []
        self.devices: set[str] = set()

    def _look(self, *_: Any, **more: Any) -> None:
        self.devices.add(next(more["model"].parameters()).device.type)
        self.seen.append(revived(more["model"], self.ticket))

    on_step_end = on_evaluate = on_save = on_train_end = _look


def trainer(ticket: Ticket, folder: Path, witness: Witness, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 2,
        "load_best_model_at_end": True,
        "report_to": "none",
        "use_cpu": DEVICE == "cpu",
        "disable_tqdm": True,
    }
    return Trainer(
        network(),
        TrainingArguments(str(folder), **settings | changes),
        train_dataset=Rows(),
        eval_dataset=Rows(),
        callbacks=[TicketCallback(ticket), witness],
    )


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "sgd"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_trainer_never_sees_a_revived_weight(
    precision: dict[str, bool], optimizer: str, ticket: Ticket, tmp_path: Path
) -> None:
    witness = Witness(ticket)
    training = trainer(ticket, tmp_path, witness, optim=optimizer, **precision)
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
    trainer(ticket, tmp_path, Witness(ticket), num_train_epochs=1).train()
    witness = Witness(ticket)
    trainer(ticket, tmp_path, witness).train(resume_from_checkpoint=True)
    assert set(witness.seen) == {0}
    assert witness.devices == {DEVICE}
