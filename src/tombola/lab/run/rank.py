"""One process of several that share a training: `torchrun -m tombola.lab.rank ORDER STORE`."""

import os
import sys
from pathlib import Path

from tombola.lab.run.payload import Payload
from tombola.lab.run.perform import perform
from tombola.lab.run.workspace import WorkspaceCache
from tombola.lab.store.result_store import Store
from tombola.training.distributed import accelerator

__all__ = ["main"]


def main(order_file: str, folder: str) -> int:
    """Do this process's part; the first one keeps the result and tells how it goes."""
    parent = os.getppid()
    payload = Payload.from_json(Path(order_file).read_text(encoding="utf-8"))
    try:
        here = accelerator()

        def step(done: int, steps: int) -> None:
            if os.getppid() != parent:  # torchrun was killed, and nobody waits for this any more
                os._exit(1)
            if here.is_main_process:
                print("step", done, steps, flush=True)

        perform(payload, Store(folder), WorkspaceCache(), step, main=here.is_main_process)
    except Exception as error:
        print("failed", type(error).__name__, " ".join(str(error).split()), flush=True)
        os._exit(1)  # the others wait for this one, and would for ever
    here.wait_for_everyone()
    here.end_training()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
