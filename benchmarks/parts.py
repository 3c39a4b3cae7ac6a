"""Where the time of a training goes: `python benchmarks/parts.py`.

An epoch over some of `sentiment` under a mask of half the weights, on one thread, seen by torch's
profiler; its operators are summed by what they are for. `--quick` tries the script itself.
"""

import json
import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from protocol import QUICK, WHOLE, Protocol, alone, machine, matmul_rate
from tombola.models.embedded import model_path
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.training.loop import fit

LINEAR = "matrix products of the linear layers"
PARTS = {
    LINEAR: ("mm", "addmm"),
    "attention: products and softmax": ("bmm", "baddbmm", "_softmax", "_softmax_backward_data"),
    "GELU": ("gelu", "gelu_backward"),
    "draws of dropout": ("random_", "bernoulli_", "ge"),
    "elementwise products and sums": ("mul", "mul_", "sum", "add_", "addcmul"),
    "copies, gathering, filling": ("copy_", "index_select", "index_fill_", "fill_"),
    "normalisation": ("native_layer_norm", "native_layer_norm_backward"),
    "AdamW and clip norm": ("_fused_adamw_", "linalg_vector_norm"),
}
"""What operators of torch are for; what is in no list is the rest,
with the parts in C, which no operator is."""


def parts(protocol: Protocol) -> dict[str, Any]:
    """What each part takes of an epoch."""
    torch.set_num_threads(1)
    task = load_task(protocol.task)
    spec = replace(task.recipe, epochs=1, batch_size=protocol.batch_size)
    network = load_network(str(model_path(protocol.model)), task.kind, len(task.labels))
    rows = read_split(task, "train")[: protocol.examples]
    examples = encode_split(rows, task, network.tokenizer, spec, limit=0)
    weights = network.scope("encoder")
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    mask = keep_top(scores, Mask.full(weights), sparsity=Decimal("0.5"))
    fit(network, task, examples, mask, spec, scope="encoder")  # so that nothing is done first
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as seen:
        fit(network, task, examples, mask, spec, scope="encoder")
    events = {event.key.removeprefix("aten::"): event for event in seen.key_averages()}
    whole = sum(event.self_cpu_time_total for event in events.values())

    def took(operators: tuple[str, ...]) -> float:
        return float(sum(events[name].self_cpu_time_total for name in operators if name in events))

    shares = {part: took(operators) / whole for part, operators in PARTS.items()}
    operations = sum(events[name].flops for name in PARTS[LINEAR])
    return {
        "shares": {**shares, "the rest, with the parts in C": 1 - sum(shares.values())},
        "seconds": whole / 1e6,
        "tokens": int(examples.lengths.sum()),
        "gflops_of_linear_layers": operations / took(PARTS[LINEAR]) / 1e3,
    }


def main() -> None:
    """Measure, and report."""
    protocol = QUICK if "--quick" in sys.argv else WHOLE
    report = {
        "matmul_gflops": alone(matmul_rate, 1),
        "protocol": protocol.settings(),
        **alone(parts, protocol),
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
