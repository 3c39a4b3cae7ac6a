"""One training, by tombola, by transformers' `Trainer` and by a plain loop of torch."""

import tempfile
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)

from card.rows import TASK, Row, operations
from card.watch import Watch, peaks, synchronize
from peers import training_arguments
from tombola.tasks.networks import load_network
from tombola.ticket.mask import Mask
from tombola.training.loop import fit
from tombola.training.numerics import kernel

__all__ = ["SIDES", "ours", "plain", "trainer"]

WHOLE = ("model", "compiled")
"""Names of arithmetic that skips nothing in the last block."""
PLAIN_STEPS = 5
"""Of the loop that only memory is measured of."""


def ours(row: Row) -> dict[str, Any]:
    """By tombola, under a mask of half the weights."""
    network = load_network(row.place, TASK.kind, len(TASK.labels))
    generator = torch.Generator().manual_seed(0)
    mask = Mask(
        {
            name: torch.rand(weight.shape, generator=generator) < 0.5
            for name, weight in network.scope("encoder").items()
        }
    )
    watch = Watch(row)
    fit(
        network,
        TASK,
        row.examples,
        mask,
        row.spec,
        scope="encoder",
        on_step=lambda done, steps, loss=None: watch(done),
    )
    arithmetic = kernel(row.spec)
    if row.name != "mini":
        watch.found["operations_a_step"] = operations(row, skipping=False)
        watch.found["operations_done_a_step"] = operations(row, skipping=arithmetic not in WHOLE)
    return {"kernel": arithmetic, **watch.report()}


class _Marks(TrainerCallback):
    """Tells a watch of each step."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.watch(state.global_step)


def trainer(row: Row) -> dict[str, Any]:
    """By `Trainer`, with no mask."""
    model = AutoModelForSequenceClassification.from_pretrained(row.place, num_labels=2)
    watch, examples = Watch(row), row.examples
    rows: Any = [
        {
            **{name: examples.inputs[name][number].tolist() for name in examples.inputs},
            "labels": examples.targets[number],
        }
        for number in range(len(examples))
    ]
    with tempfile.TemporaryDirectory() as folder:
        one = Trainer(
            model,
            training_arguments(row.protocol, folder, seed=0, torch_compile=row.compile),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(row.place),
            callbacks=[_Marks(watch)],
        )
        one.remove_callback(PrinterCallback)
        one.train()
    return watch.report()


def plain(row: Row) -> dict[str, Any]:
    """Peak memory of the loop that anybody would write; it is not timed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSequenceClassification.from_pretrained(row.place, num_labels=2)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for _ in range(PLAIN_STEPS):
        ids = torch.randint(1000, 10_000, (row.texts, row.length), device=device)
        labels = torch.zeros(len(ids), dtype=torch.long, device=device)
        with torch.autocast(device, torch.bfloat16, enabled=row.precision == "bf16"):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    synchronize()
    return dict(peaks())


SIDES = {"ours": ours, "trainer": trainer, "plain": plain}
"""Name -> what trains a row."""
