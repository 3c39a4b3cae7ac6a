"""transformers' Trainer on a small network under a ticket, and a witness of what it does."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from small_network import network, revived
from tombola.ship.callbacks.trainer import TicketCallback
from tombola.ticket.ticket import Ticket


class Rows(Dataset[dict[str, Tensor]]):
    """Thirty-two rows of six tokens."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        ids = (torch.arange(6) * (place + 1)) % 40
        return {"input_ids": ids, "labels": torch.tensor(place % 2)}


class Witness(TrainerCallback):
    """Counts revived weights wherever a user could look: after each step, evaluation and copy."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.seen: list[int] = []
        self.devices: set[str] = set()

    def _look(self, *_: Any, **more: Any) -> None:
        self.devices.add(next(more["model"].parameters()).device.type)
        self.seen.append(revived(more["model"], self.ticket))

    on_step_end = on_evaluate = on_save = on_train_end = _look


def trainer(ticket: Ticket, folder: Path, *more: TrainerCallback, **changes: Any) -> Trainer:
    """Two epochs of four steps on the CPU, evaluated and saved every other step."""
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
