"""A training of a BERT-base takes hardly more memory than a plain loop."""

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from trainings import DEVICE, SPEC, half, needs_card
from transformers import BertConfig, BertForSequenceClassification

from architectures import ROWS, TASKS
from tombola.base.errors import TombolaError
from tombola.base.specs import CourseSpec
from tombola.lab.run.memory import gpu_size, within_memory
from tombola.models.network import Network
from tombola.tasks.examples import Examples
from tombola.training.loop import fit

pytestmark = [pytest.mark.cuda, needs_card("the memory of a card is measured")]

BATCH, LENGTH, STEPS = 32, 128, 3
WORKSPACE = 64 << 20
"""Bytes that cuBLAS may keep for each stream."""


def plain_loop(network: Network, precision: str) -> None:
    """Train a network as a script would."""
    model: Any = network.model.to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=SPEC.learning_rate, fused=True)
    half_precision = precision == "bf16"
    for _ in range(STEPS):
        ids = torch.full((BATCH, LENGTH), 7, device=DEVICE)
        labels = torch.arange(BATCH, device=DEVICE) % 2
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=half_precision):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def ours(network: Network, precision: str) -> None:
    """Train the same network under a mask."""
    spec = replace(SPEC, precision=precision, batch_size=BATCH, epochs=STEPS, max_length=LENGTH)
    done = fit(
        *(network, TASKS["classification"], examples(), half(network), spec),
        scope="encoder",
        course=CourseSpec(last=STEPS),
    )
    assert done.steps == STEPS


def examples() -> Examples:
    """A batch of full length."""
    ids = [np.full(LENGTH, 7, dtype=np.int32)] * BATCH
    ones = [np.ones(LENGTH, dtype=np.int32)] * BATCH
    rows = [ROWS["classification"][0]] * BATCH
    inputs = {"input_ids": ids, "attention_mask": ones}
    return Examples(rows, inputs, [n % 2 for n in range(BATCH)], [])


def base() -> Network:
    """A random BERT-base."""
    with torch.device(DEVICE):
        model = BertForSequenceClassification(BertConfig())
    tokenizer: Any = type("Tokenizer", (), {"pad_token_id": 0})()
    return Network(model, tokenizer, "base", "0" * 64, "0" * 64, frozenset(), frozenset(), {})


def peak(train: Callable[[Network, str], None], precision: str) -> int:
    """Most memory that a training allocates, in bytes, the network included."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    train(base(), precision)
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_takes_hardly_more_memory_than_a_plain_loop(precision: str) -> None:
    plain, masked = peak(plain_loop, precision), peak(ours, precision)
    assert masked <= 1.1 * plain, f"{masked >> 20} MiB, {plain >> 20} MiB in a plain loop"


def test_a_training_frees_its_memory() -> None:
    """All but the few MiB in which libraries work: no weights, moments or activations."""
    network = base()
    ours(network, "bf16")
    gc.collect()
    kept = torch.cuda.memory_allocated()
    ours(network, "bf16")
    gc.collect()
    more = torch.cuda.memory_allocated() - kept
    assert more <= WORKSPACE, f"{more >> 20} MiB more"


def test_the_memory_of_a_network_is_freed_with_it() -> None:
    """Recorded gradients and their memory, too."""
    gc.collect()
    before = torch.cuda.memory_allocated()
    ours(base(), "bf16")
    gc.collect()
    more = torch.cuda.memory_allocated() - before
    assert more <= WORKSPACE, f"{more >> 20} MiB more"


def test_who_wants_more_than_its_share_is_told_so_and_can_go_on() -> None:
    size = gpu_size()

    def take(number: int) -> None:
        torch.empty(number, dtype=torch.uint8, device=DEVICE)

    try:
        with pytest.raises(TombolaError, match=r"a share of \d+\.\d GiB .* for 8 workers, but it"):
            within_memory("a training", 8, partial(take, size // 7))
        within_memory("a training", 8, partial(take, size // 32))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    with pytest.raises(TombolaError, match=r"that are free on its GPU of \d+\.\d GiB, but it"):
        within_memory("a training", 1, partial(take, 2 * size))
