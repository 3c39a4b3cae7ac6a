"""A callback that keeps a ticket's pruned weights at zero in `transformers.Trainer`."""

from contextlib import ExitStack
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tombola.base.fields import StrPath
from tombola.ticket.hold.places import sharded_by
from tombola.ticket.ticket import Ticket

__all__ = ["TicketCallback"]


class TicketCallback(TrainerCallback):
    """Holds a ticket from the beginning of a training to its end.

        trainer = Trainer(model, args, train_dataset=data, callbacks=[TicketCallback(ticket)])

    Whatever the trainer saves, evaluates or loads in between has the pruned weights at +0.0: its
    checkpoints, the best model that it loads in the end, and every process of a distributed run.
    """

    def __init__(self, ticket: Ticket | StrPath, *, scope: str | None = None) -> None:
        self.ticket = ticket if isinstance(ticket, Ticket) else Ticket.load(ticket)
        self.scope = scope
        self._held = ExitStack()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hold the network; if an earlier training failed, its network is let go of first.

        Raises: TicketError, if the network is another one, or DeepSpeed or FSDP train it.
        """
        self._held.close()
        if getattr(args, "deepspeed_plugin", None) is not None:
            raise sharded_by("DeepSpeed")
        self._held.enter_context(self.ticket.hold(kwargs["model"], scope=self.scope))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let the network go, its pruned weights at +0.0."""
        self._held.close()
