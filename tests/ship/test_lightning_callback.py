"""A ticket in Lightning's Trainer: pruned weights stay zero, whatever the trainer does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.optim import optimizer
from torch.utils.data import DataLoader
from transformers import BertForSequenceClassification

import tombola
from small_network import network, revived
from tombola.base.errors import SpecError, TicketError
from tombola.ship.callbacks import lightning as lightning_callback
from tombola.ship.callbacks.lightning import LightningTicketCallback
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.ticket import Ticket

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",  # about speed
    "ignore:.*(treespec|LeafSpec).*",
    "ignore:.*(Checkpoint directory|dirpath has changed|`val_dataloader`).*",
)


class Classifier(LightningModule):
    """A network with a head, as a user of Lightning writes it."""

    def __init__(self, student: nn.Module | None = None, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.student = student or network()
        self.teacher = teacher

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        loss: Tensor = self.student(**batch).loss
        return loss if self.teacher is None else loss + self.teacher(**batch).loss

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        self.log("loss", self.training_step(batch, number))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01, weight_decay=0.1)


class Witness(Callback):
    """Counts revived weights, and gradients of pruned weights, wherever a user could look."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.seen: list[int] = []
        self.gradients: list[int] = []

    def _look(self, module: Any) -> None:
        self.seen.append(revived(module.student, self.ticket))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._look(pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        self._look(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Called before Lightning clips."""
        for name, weight in masked_parameters(pl_module.student, self.ticket.mask).items():
            if weight.grad is not None:
                self.gradients.append(int(weight.grad[~self.ticket.mask[name]].count_nonzero()))


def rows() -> "DataLoader[dict[str, Tensor]]":
    each: Any = [
        {"input_ids": (torch.arange(6) * (n + 1)) % 40, "labels": torch.tensor(n % 2)}
        for n in range(32)
    ]
    return DataLoader(each, batch_size=8)


def trainer(folder: Path, *callbacks: Callback, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "val_check_interval": 2,
        "gradient_clip_val": 1.0,
    }
    saving = ModelCheckpoint(folder, save_top_k=-1, every_n_train_steps=2)
    return Trainer(default_root_dir=folder, callbacks=[*callbacks, saving], **settings | changes)


def saved_network(place: Path) -> BertForSequenceClassification:
    state = torch.load(place, weights_only=True)["state_dict"]
    loaded = network()
    head = "student."
    loaded.load_state_dict({n.removeprefix(head): t for n, t in state.items()})
    return loaded


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}], ids=str
)
def test_a_trainer_never_sees_a_revived_weight(
    changes: dict[str, Any], ticket: Ticket, tmp_path: Path
) -> None:
    witness, module = Witness(ticket), Classifier()
    trainer(tmp_path, LightningTicketCallback(ticket), witness, **changes).fit(
        module, rows(), rows()
    )
    assert len(witness.seen) >= 16
    assert set(witness.seen) == set(witness.gradients) == {0}
    assert revived(module.student, ticket) == 0
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert checkpoints
    assert {revived(saved_network(place), ticket) for place in checkpoints} == {0}
    assert not optimizer._global_optimizer_post_hooks


def test_without_the_callback_pruned_weights_come_back(ticket: Ticket, tmp_path: Path) -> None:
    module = Classifier()
    ticket.apply(module.student)
    trainer(tmp_path).fit(module, rows(), rows())
    assert revived(module.student, ticket) > 0


def test_a_resumed_fit_goes_on_under_the_ticket(ticket: Ticket, tmp_path: Path) -> None:
    """Also from a checkpoint that was written without one."""
    for folder, callbacks in (
        (tmp_path / "held", [LightningTicketCallback(ticket)]),
        (tmp_path / "free", []),
    ):
        trainer(folder, *callbacks, max_epochs=1).fit(Classifier(), rows(), rows())
        checkpoint = max(folder.glob("*.ckpt"))
        witness, module = Witness(ticket), Classifier()
        again = trainer(folder / "again", LightningTicketCallback(ticket), witness)
        again.fit(module, rows(), rows(), ckpt_path=str(checkpoint), weights_only=True)
        assert again.current_epoch == 2
        assert set(witness.seen) == {0}
        assert revived(module.student, ticket) == 0


class Boom(Callback):
    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("boom")


def test_a_failed_fit_lets_go_of_its_network(ticket: Ticket, tmp_path: Path) -> None:
    module, callback = Classifier(), LightningTicketCallback(ticket)
    with pytest.raises(RuntimeError, match="boom"):
        trainer(tmp_path, callback, Boom()).fit(module, rows())
    assert not optimizer._global_optimizer_post_hooks
    assert not module.student._forward_pre_hooks
    trainer(tmp_path / "again", callback).fit(module, rows())
    assert revived(module.student, ticket) == 0


def test_of_two_networks_that_fit_one_is_named(ticket: Ticket, tmp_path: Path) -> None:
    teacher = network()
    module = Classifier(teacher=teacher)
    with pytest.raises(TicketError, match=r"one network .* got 'student', 'teacher'"):
        trainer(tmp_path, LightningTicketCallback(ticket)).fit(module, rows())
    callback = LightningTicketCallback(ticket, network="student")
    trainer(tmp_path / "named", callback).fit(module, rows())
    assert revived(module.student, ticket) == 0
    assert revived(teacher, ticket) > 0
    with pytest.raises(
        TicketError, match="a network named 'techer' in Classifier, got student, teacher"
    ):
        trainer(tmp_path, LightningTicketCallback(ticket, network="techer")).fit(module, rows())


def test_a_module_without_the_network_is_refused(ticket: Ticket, tmp_path: Path) -> None:
    module = Classifier(student=network(hidden_size=32))
    with pytest.raises(TicketError, match="the ticket's tensors in Classifier, got none"):
        trainer(tmp_path, LightningTicketCallback(ticket)).fit(module, rows())
    named = LightningTicketCallback(ticket, network="student")
    with pytest.raises(TicketError, match="differ first at"):
        trainer(tmp_path, named).fit(module, rows())


def test_a_sharded_strategy_is_refused(ticket: Ticket) -> None:
    class FSDPStrategy:
        pass

    class Sharded:
        strategy = FSDPStrategy()

    stand_in: Any = Sharded()
    with pytest.raises(TicketError, match=r"got FSDPStrategy\. Train it with the strategy `ddp`\."):
        LightningTicketCallback(ticket).on_fit_start(stand_in, Classifier())


def test_without_lightning_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tombola.LightningTicketCallback is LightningTicketCallback
    assert "LightningTicketCallback" not in tombola.__all__
    monkeypatch.setattr(lightning_callback, "PACKAGES", ("no_such_package.pytorch",))
    with pytest.raises(SpecError, match=r"got neither\. .*`pip install lightning`"):
        lightning_callback._callback()


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths}
from test_lightning_callback import Classifier, Witness, rows, trainer
from small_network import revived
from tombola.ship.callbacks.lightning import LightningTicketCallback
from tombola.ticket.ticket import Ticket
ticket, place = Ticket.load({ticket!r}), Path({place!r})
witness, module = Witness(ticket), Classifier()
settings = dict(strategy="ddp", devices=2, num_sanity_val_steps=0)
training = trainer(place, LightningTicketCallback(ticket), witness, **settings)
training.fit(module, rows(), rows())
assert training.world_size == 2
assert set(witness.seen) == {{0}}, witness.seen
assert revived(module.student, ticket) == 0
"""


def test_two_ranks_hold_the_same_ticket(ticket: Ticket, tmp_path: Path) -> None:
    saved = ticket.save(tmp_path / "ticket")
    paths = [str(Path(__file__).parent), *sys.path]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=paths, ticket=str(saved), place=str(tmp_path / "out")))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
