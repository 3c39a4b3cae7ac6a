"""What a training costs against tokens, weights and rounds: `python benchmarks/cost.py`.

Random networks on texts of random tokens, all of one length, two thousand tokens a step; and the
search of `time_to_ticket.py` on one seed with fewer rounds. `--quick` tries the script itself.
"""

import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from ours import ours
from protocol import QUICK, WHOLE, alone, machine, matmul_rate
from tombola.base.specs import TrainSpec
from tombola.models.embedded import model_path
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.loop import fit

TOKENS = 2048
"""In each step."""
STEPS = 3
LENGTHS = (16, 32, 64, 128, 256)
SHAPES = {"2 x 128": (2, 128), "4 x 256": (4, 256), "6 x 384": (6, 384), "12 x 768": (12, 768)}
"""Blocks x width."""


def step(blocks: int, width: int, length: int, threads: int) -> dict[str, Any]:
    """Seconds of a step: the median of all but the first, which warms up."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as place:
        config = BertConfig(
            hidden_size=width,
            num_hidden_layers=blocks,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
            vocab_size=17_000,
        )
        BertModel(config).save_pretrained(place)
        AutoTokenizer.from_pretrained(model_path("mini")).save_pretrained(place)
        network = load_network(place, "classification")
    texts = TOKENS // length
    examples = _texts(texts * (STEPS + 1), length)
    mask, times = Mask.full(network.scope("encoder")), [time.perf_counter()]
    fit(
        network,
        load_task("sentiment"),
        examples,
        mask,
        TrainSpec(batch_size=texts, epochs=1, max_length=length),
        scope="encoder",
        on_step=lambda *_: times.append(time.perf_counter()),
    )
    seconds = float(statistics.median(np.diff(times)[1:]))
    return {
        "weights": mask.size,
        "length": length,
        "seconds": seconds,
        "useful_gflops": 6 * TOKENS * mask.size / seconds / 1e9,
    }


def _texts(count: int, length: int) -> Examples:
    """Random tokens, all of one length."""
    drawn = np.random.default_rng(0).integers(1000, 17_000, (count, length), dtype=np.int32)
    ones = np.ones(length, dtype=np.int32)
    return Examples(
        rows=[{}] * count,
        inputs={"input_ids": [*drawn], "attention_mask": [ones] * count},
        targets=[n % 2 for n in range(count)],
        offsets=[],
    )


def main() -> None:
    """Measure, and report."""
    quick = "--quick" in sys.argv
    few = 1 if quick else None
    protocol = replace(QUICK if quick else WHOLE, seeds=(0,))
    report = {
        "tokens_a_step": TOKENS,
        "matmul_gflops": alone(matmul_rate, 2),
        "lengths": [alone(step, 6, 384, length, 2) for length in LENGTHS[:few]],
        "shapes": {name: alone(step, *SHAPES[name], 64, 2) for name in list(SHAPES)[:few]},
        "rounds": {
            rounds: alone(ours, replace(protocol, rounds=rounds))
            for rounds in ((1,) if quick else (1, 3, 5))
        },
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
