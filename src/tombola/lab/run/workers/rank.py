"""A rank: one of the processes that share a training."""

import os
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock

from tombola.base.errors import TombolaError, sent_name
from tombola.lab.run.payload import Payload
from tombola.lab.run.perform import perform
from tombola.lab.run.workspace import WorkspaceCache
from tombola.lab.store.result_store import Store
from tombola.training.distributed import accelerator

__all__ = ["train"]

GRACE = 3.0
"""Seconds in which the launcher, which reports the first ended rank that it finds, finds a killed
one before those that lost their connection to it."""


def train(payload_json: str, folder: str, pipe: Connection, lock: Lock, sharers: int) -> None:
    """Do this rank's part of a training; the first rank saves the result and reports steps.

    Args:
        payload_json: the training.
        folder: the store's folder.
        pipe: gets `("step", done, steps, loss)` and `("failed", name of the error, message)`.
        lock: held while sending, as all ranks share the pipe.
        sharers: number of trainings that share this rank's GPU, this one included.
    """
    launcher = os.getppid()

    def send(*message: object) -> None:
        with lock:
            pipe.send(message)

    try:
        here = accelerator()

        def step(done: int, steps: int, loss: float | None = None) -> None:
            if os.getppid() != launcher:  # it was killed, so no process waits for this rank
                os._exit(1)
            if here.is_main_process:
                send("step", done, steps, loss)

        payload = Payload.from_json(payload_json)
        main = here.is_main_process
        perform(payload, Store(folder), WorkspaceCache(), step, main=main, sharers=sharers)
    except Exception as error:
        with suppress(OSError):
            send("failed", sent_name(error), " ".join(str(error).split()))
        if not isinstance(error, TombolaError):  # ours never come of a lost connection
            time.sleep(GRACE)  # the launcher ends this rank sooner if another was killed before
        os._exit(1)  # without it the others would wait forever
    here.wait_for_everyone()
    here.end_training()
