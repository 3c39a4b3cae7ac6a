"""The memory of a search as large as BERT-base: `python benchmarks/memory.py`.

A random network of BERT-base's size is trained for two steps a round: dense by a plain loop of
torch, dense by tombola, and by IMP with two rounds and with four. Each is a process of its own,
whose largest resident memory is reported. `--quick` takes a small network.
"""

import json
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

from ours import search
from protocol import Protocol, alone, machine
from tombola.models.embedded import model_path

STEPS, TEXTS = 2, 8
SMALL = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}


def network(place: str, quick: bool) -> int:
    """Keep a random network with the embedded model's tokenizer; its number of weights."""
    config = BertConfig(**SMALL) if quick else BertConfig()  # type: ignore[arg-type]
    model = BertModel(config)
    model.save_pretrained(place)
    AutoTokenizer.from_pretrained(model_path("mini")).save_pretrained(place)
    return sum(parameter.numel() for parameter in model.parameters())


def plain(protocol: Protocol) -> int:
    """Peak bytes of a dense training as anybody would write it, on texts of 32 tokens."""
    torch.set_num_threads(protocol.threads)
    model = BertForSequenceClassification.from_pretrained(protocol.model, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for _ in range(STEPS):
        ids = torch.randint(100, 10_000, (protocol.batch_size, 32))
        loss = model(input_ids=ids, labels=torch.zeros(len(ids), dtype=torch.long)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return _peak()


def ours(protocol: Protocol) -> int:
    """Peak bytes of a search, or of its dense training alone where it has no rounds."""
    with tempfile.TemporaryDirectory() as folder:
        search(protocol, Path(folder))
    return _peak()


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Measure, and report."""
    with tempfile.TemporaryDirectory() as place:
        size = alone(network, place, "--quick" in sys.argv)
        protocol = Protocol(
            model=place, batch_size=TEXTS, examples=STEPS * TEXTS, test_examples=TEXTS, seeds=(0,)
        )
        peaks: dict[str, Any] = {"plain": alone(plain, protocol)}
        for name, rounds in {"dense": 0, "imp, 2 rounds": 2, "imp, 4 rounds": 4}.items():
            peaks[name] = alone(ours, replace(protocol, rounds=rounds))
    ratios = {f"{name} / dense": peak / peaks["dense"] for name, peak in peaks.items()}
    ratios |= {f"{name} / plain": peak / peaks["plain"] for name, peak in peaks.items()}
    report = {"weights": size, "peak_bytes": peaks, "ratios": ratios, "machine": machine()}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
