"""The folder of one trained network and its ticket: complete or absent, and never another's."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.base.errors import OutputError
from tombola.base.files import not_written, write_file, write_synced
from tombola.base.folders import check_folder, new_folder
from tombola.base.json_text import json_text
from tombola.base.keys import changed_knobs
from tombola.base.specs import TrainSpec
from tombola.lab.store.artifacts import trained_weights
from tombola.lab.store.result_store import Store
from tombola.plan.subject import Subject
from tombola.study.results.training_result import TrainingResult, read_training_result
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.format import NESTED
from tombola.ticket.ticket import Ticket

if TYPE_CHECKING:
    from tombola.ship.network_card import CardFacts

__all__ = ["NetworkWriter", "saved_network"]

RESULT, CARD = "result.json", "README.md"

SHOWN = ("epochs", "batch_size", "learning_rate", "weight_decay", "max_length", "precision")
"""Knobs that the card names even at their defaults."""


def saved_network(folder: Path, key: str) -> TrainingResult | None:
    """The network of a training that a folder has already; None for a new or an empty folder.

    Args:
        folder: a folder for the network: new, empty, or with the network in it.
        key: the key of the training.

    Raises: OutputError, if the folder holds anything else, or can't be written.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        check_folder(folder)
        return None
    try:
        found = read_training_result(folder / RESULT)
    except OutputError:
        raise OutputError(
            f"{str(folder)!r} holds something else. Pass an empty or new folder as --output."
        ) from None
    if found.key != key:
        raise OutputError(
            f"{str(folder)!r} holds another network: that of training {found.key[:12]} "
            f"({found.task}, seed {found.seed}, sparsity {found.sparsity}), asked for {key[:12]}. "
            "Use another --output, or leave it out."
        )
    for name, digest in found.files.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise OutputError(
                f"expected {name} in {str(folder)!r} as it was written, got "
                f"{'another' if (folder / name).is_file() else 'none'}. Delete the folder, or use "
                "another --output."
            )
    return found


class NetworkWriter:
    """Writes the networks of trainings of one subject."""

    def __init__(self, store: Store, subject: Subject) -> None:
        from tombola.tasks.networks import load_network

        task, head = subject.task, subject.recipe.head
        self._store, self._subject = store, subject
        self._network = load_network(subject.model, task.kind, len(task.labels), head=head)

    def write(self, trained: TrainingResult, ticket: Ticket, folder: Path) -> TrainingResult:
        """Write a network whose weights are in the store, next to its ticket.

        Args:
            trained: the result of its training.
            ticket: the ticket it was trained under.
            folder: new or empty.

        Returns: the result with the folder's files.
        Raises: OutputError, if the disk refuses, or the store has other weights.
        """
        self._network.load(trained_weights(self._store, trained.key))
        try:
            with new_folder(Path(os.path.realpath(folder))) as temporary:
                self._fill(temporary, trained, ticket)
                written = replace(trained, files=_files(temporary))
                text = json_text(written.to_file())
                write_synced(temporary / RESULT, text.encode())
        except OSError as error:
            faster = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if faster and (found := saved_network(folder, trained.key)):  # by another process
                return found
            raise not_written(folder, error) from None
        return written

    def _fill(self, folder: Path, trained: TrainingResult, ticket: Ticket) -> None:
        """Write everything but result.json."""
        from tombola.models.saving import save_network
        from tombola.ship.card import card
        from tombola.ship.network_card import network_card

        save_network(self._network, folder, labels=self._subject.task.labels)
        place = ticket.save(folder / NESTED)
        write_file(place / CARD, card(ticket))
        write_file(folder / CARD, network_card(ticket, self._card_facts(trained)))

    def _card_facts(self, trained: TrainingResult) -> "CardFacts":
        """What the card says of the training."""
        from tombola.ship.network_card import CardFacts

        kind = TASK_KINDS[self._subject.task.kind]
        named = {*SHOWN, *changed_knobs(TrainSpec(**trained.recipe))}
        return CardFacts(
            auto_class=kind.head(2).auto_class,
            task=trained.task,
            metric=trained.metric,
            split=trained.split,
            score=trained.score,
            trivial=trained.trivial,
            seed=trained.seed,
            init=trained.init,
            whole_model_sparsity=trained.whole_model_sparsity,
            numerics=trained.numerics,
            recipe={name: value for name, value in trained.recipe.items() if name in named},
        )


def _files(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of each file of a network, its cards apart, so that they can be edited."""
    every = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CARD)
    return {str(path.relative_to(folder)): _digest(path) for path in every}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
