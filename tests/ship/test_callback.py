"""A ticket in transformers' Trainer: pruned weights stay zero, whatever the trainer does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import optimizer
from torch.utils.data import Dataset
from transformers import (
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from small_network import network, revived
from tombola.ship.callbacks.trainer import TicketCallback
from tombola.ticket.ticket import Ticket


class Rows(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        ids = (torch.arange(6) * (place + 1)) % 40
        return {"input_ids": ids, "labels": torch.tensor(place % 2)}


class Witness(TrainerCallback):
    """Counts revived weights wherever a user could look."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.seen: list[int] = []

    def _look(self, *_: Any, **more: Any) -> None:
        self.seen.append(revived(more["model"], self.ticket))

    on_step_end = on_evaluate = on_save = on_train_end = _look


def trainer(ticket: Ticket, folder: Path, *more: TrainerCallback, **changes: Any) -> Trainer:
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
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return Trainer(
        network(),
        TrainingArguments(str(folder), **settings | changes),
        train_dataset=Rows(),
        eval_dataset=Rows(),
        callbacks=[TicketCallback(ticket), *more],
    )


def test_a_trainer_never_sees_a_revived_weight(ticket: Ticket, tmp_path: Path) -> None:
    witness = Witness(ticket)
    training = trainer(ticket, tmp_path, witness, gradient_accumulation_steps=2)
    training.train()
    assert len(witness.seen) >= 8
    assert set(witness.seen) == {0}
    assert training.model is not None
    assert revived(training.model, ticket) == 0
    checkpoints = sorted(tmp_path.glob("checkpoint-*"))
    assert checkpoints
    for place in checkpoints:
        saved = BertForSequenceClassification.from_pretrained(place)
        assert revived(saved, ticket) == 0


def test_a_resumed_training_goes_on_under_the_ticket(ticket: Ticket, tmp_path: Path) -> None:
    trainer(ticket, tmp_path, num_train_epochs=1).train()
    witness = Witness(ticket)
    resumed = trainer(ticket, tmp_path, witness)
    resumed.train(resume_from_checkpoint=True)
    assert set(witness.seen) == {0}


class Boom(TrainerCallback):
    def on_step_end(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("boom")


def test_after_a_failure_the_next_training_lets_go_of_the_old_network(
    ticket: Ticket, tmp_path: Path
) -> None:
    broken = trainer(ticket, tmp_path / "a", Boom())
    with pytest.raises(RuntimeError, match="boom"):
        broken.train()
    assert len(optimizer._global_optimizer_post_hooks) == 1
    broken.remove_callback(Boom)
    broken.train()
    assert not optimizer._global_optimizer_post_hooks
    assert broken.model is not None
    assert not broken.model._forward_pre_hooks


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths}
from test_callback import Witness, trainer
from small_network import revived
from tombola.ticket.ticket import Ticket
ticket, place = Ticket.load({ticket!r}), Path({place!r})
witness = Witness(ticket)
training = trainer(ticket, place, witness, ddp_backend="gloo")
training.train()
assert training.accelerator.num_processes == 2
assert set(witness.seen) == {{0}}, witness.seen
assert revived(training.model, ticket) == 0
"""


def test_two_ranks_hold_the_same_ticket(ticket: Ticket, tmp_path: Path) -> None:
    saved = ticket.save(tmp_path / "ticket")
    paths = [str(Path(__file__).parent), *sys.path]
    script = tmp_path / "script.py"
    place = str(tmp_path / "out")
    script.write_text(SCRIPT.format(paths=paths, ticket=str(saved), place=place))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
