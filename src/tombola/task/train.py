"""fit() and evaluate(): the only training loop.

The dead weights of a mask stay zero: their gradients are zeroed before the clip norm is taken,
and they are filled with zero again after each step of the optimizer.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from tombola.specs import TrainSpec
from tombola.task.data import Batch, Examples, Numbers, batches, chosen, collate, mask_tokens
from tombola.task.metrics import Outcome, answer_f1, exact_match
from tombola.task.models import Network, stream
from tombola.task.tasks import Task
from tombola.ticket.mask import Mask, hold

__all__ = ["Fit", "evaluate", "evaluation_batches", "fit", "numerics", "steps_of"]

EVALUATION_TOKENS = 4096
"""Tokens in an evaluation batch, padding included."""
LABELS = {"labels", "start_positions", "end_positions"}
LONGEST_ANSWER = 30
"""Tokens of the longest answer that is considered in a span task."""

Watch = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True)
class Fit:
    """What one training did."""

    steps: int
    tokens: int
    """Tokens seen, padding not counted."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps: about how far a weight can have moved."""
    loss: float
    """Mean training loss over the last tenth of the steps."""
    training_seconds: float


def steps_of(size: int, spec: TrainSpec) -> int:
    """Optimizer steps of a training on so many examples."""
    used = min(size, spec.train_limit or size)
    return max(1, round(spec.epochs * -(-used // spec.batch_size)))


def fit(
    network: Network,
    task: Task,
    examples: Examples,
    mask: Mask,
    spec: TrainSpec,
    *,
    scope: str,
    watch: Watch = lambda done, steps: None,
) -> Fit:
    """Train the masked network as it stands, in place.

    Args:
        network: at its starting weights, see `Network.rewind`.
        task: what the labels mean.
        examples: of the training split.
        mask: which weights of the scope live.
        spec: recipe and seed.
        scope: the scope that the mask is for.
        watch: told of every step.

    Source: AdamW with linear decay and clipping as in Chen et al. 2020, section 3.
    """
    began = time.monotonic()
    parameters = network.scope(scope)
    accelerator = Accelerator()
    optimizer = torch.optim.AdamW(
        network.model.parameters(),
        lr=spec.learning_rate,
        weight_decay=spec.weight_decay,
        fused=True,
    )
    steps = steps_of(len(examples), spec)
    schedule = get_linear_schedule_with_warmup(optimizer, round(spec.warmup * steps), steps)
    model, optimizer = accelerator.prepare(network.model, optimizer)
    torch.manual_seed(stream(spec.seed, "dropout"))
    model.train()
    losses, tokens, summed = [], 0, 0.0
    with hold(parameters, mask) as held:
        for batch in _training_batches(network, task, examples, spec, steps):
            tokens += int(batch["attention_mask"].sum())
            summed += schedule.get_last_lr()[0]
            loss = _loss(model, _to(batch, accelerator.device), spec)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), spec.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            held.fill(parameters)
            losses.append(loss.detach())
            watch(len(losses), steps)
    accelerator.free_memory()
    return Fit(
        steps=steps,
        tokens=tokens,
        summed_learning_rate=summed,
        loss=float(torch.stack(losses[-max(1, steps // 10) :]).mean()),
        training_seconds=time.monotonic() - began,
    )


def _training_batches(
    network: Network, task: Task, examples: Examples, spec: TrainSpec, steps: int
) -> Iterator[Batch]:
    """The batches of a training: order and masked tokens each from a generator of their own."""
    order = torch.Generator().manual_seed(stream(spec.seed, "order"))
    masks = torch.Generator().manual_seed(stream(spec.seed, "masks"))
    used = chosen(len(examples), spec.train_limit)
    done = 0
    while True:
        for numbers in batches(examples.lengths[used], spec.batch_size, order):
            if done == steps:
                return
            batch = collate(examples, used[numbers], task, network.pad)
            yield mask_tokens(batch, network.tokenizer, masks) if task.kind == "mlm" else batch
            done += 1


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _loss(model: nn.Module, batch: Batch, spec: TrainSpec) -> Tensor:
    bf16 = spec.precision == "bf16"
    with torch.autocast(batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=bf16):
        loss: Tensor = model(**batch).loss
    return loss


def evaluate(network: Network, task: Task, examples: Examples) -> Outcome:
    """What the network makes of each example, in their order.

    The network predicts without dropout, in float32; the global generator is left as it was. The
    tokens masked for masked language modelling are the same for every network.

    Returns: (examples, 2): prediction and label; for spans F1 and exact match, in [0, 1]; for
    masked language modelling tokens restored and tokens masked.
    """
    device = next(network.model.parameters()).device
    outcome = np.zeros((len(examples), 2))
    network.model.eval()
    with torch.inference_mode(), torch.random.fork_rng():
        for numbers, batch, labels in evaluation_batches(network, task, examples):
            output = network.model(**_to(batch, device))
            outcome[numbers] = OUTCOMES[task.kind](output, labels, examples, numbers)
    return outcome


def evaluation_batches(
    network: Network, task: Task, examples: Examples
) -> Iterator[tuple[Numbers, Batch, Batch]]:
    """Examples sorted by length, in batches of about as many tokens: numbers, inputs, labels."""
    masks = torch.Generator().manual_seed(stream(0, "evaluation"))
    order = np.argsort(-examples.lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, EVALUATION_TOKENS // int(examples.lengths[order[start]]))
        numbers = order[start : start + count]
        batch = collate(examples, numbers, task, network.pad)
        if task.kind == "mlm":
            batch = mask_tokens(batch, network.tokenizer, masks)
        labels = {name: batch.pop(name) for name in LABELS & batch.keys()}
        yield numbers, batch, labels
        start += count


def _classes(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    return torch.stack([output.logits.argmax(-1).cpu(), labels["labels"]], dim=1).double().numpy()


def _values(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    return torch.stack([output.logits[:, 0].cpu(), labels["labels"]], dim=1).double().numpy()


def _restored(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    masked = labels["labels"] >= 0
    hits = (output.logits.argmax(-1).cpu() == labels["labels"]) & masked
    return torch.stack([hits.sum(1), masked.sum(1)], dim=1).double().numpy()


def _answers(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    starts, ends = output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()
    rows = []
    for row, n in enumerate(numbers):
        answer = _best_answer(starts[row], ends[row], examples, int(n))
        golds = examples.rows[n]["answers"]["text"]
        f1 = max(answer_f1(answer, gold) for gold in golds)
        rows.append((f1, max(exact_match(answer, gold) for gold in golds)))
    return np.array(rows)


def _best_answer(start: Any, end: Any, examples: Examples, number: int) -> str:
    """Text of the span in the context with the largest sum of start and end scores."""
    offsets = np.array(examples.offsets[number])
    inside = offsets[:, 1] > offsets[:, 0]
    first = np.where(inside, start[: len(offsets)], -np.inf)
    last = np.where(inside, end[: len(offsets)], -np.inf)
    total = first[:, None] + last[None, :]
    reach = np.tri(len(offsets), k=LONGEST_ANSWER - 1) - np.tri(len(offsets), k=-1)
    total[reach == 0] = -np.inf
    a, b = np.unravel_index(int(np.argmax(total)), total.shape)
    return str(examples.rows[number]["context"][offsets[a, 0] : offsets[b, 1]])


OUTCOMES: Mapping[str, Callable[[Any, Batch, Examples, Numbers], Outcome]] = {
    "classification": _classes,
    "regression": _values,
    "mlm": _restored,
    "span": _answers,
}


def numerics(spec: TrainSpec) -> dict[str, Any]:
    """What the bits of a result depend on besides its spec."""
    return {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": 1,
        "precision": spec.precision,
        **{name: version(name) for name in ("torch", "transformers", "accelerate")},
    }
