"""A ticket in transformers' Trainer: pruned weights stay zero, whatever the trainer does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.optim import optimizer
from transformers import (
    BertForSequenceClassification,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from small_network import network, revived
from small_trainer import Witness, trainer
from tombola.base.errors import TicketError
from tombola.ship.callbacks.trainer import TicketCallback
from tombola.ticket.ticket import Ticket


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
from small_trainer import Witness, trainer
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


def test_deepspeed_which_trains_copies_of_the_weights_is_refused(
    ticket: Ticket, tmp_path: Path
) -> None:
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    args.deepspeed_plugin = object()
    with pytest.raises(TicketError, match="sharded by DeepSpeed"):
        TicketCallback(ticket).on_train_begin(
            args, TrainerState(), TrainerControl(), model=network()
        )
