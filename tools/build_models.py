"""Writes docs/reference/models.md: what is pruned in each architecture, and what is left.

Everything is taken from the code: networks of the published configurations are built on the meta
device, without weights, and asked for their scopes.

    python tools/build_models.py
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from tombola.base.errors import ModelError, SpecError
from tombola.base.rounding import percent
from tombola.models.tokenizer import reserved_positions
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.scope import left_out, scope_parameters, starred, whole_model_size
from tombola.ticket.structures import units_of

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "models.md"

DEBERTA: dict[str, Any] = {
    "vocab_size": 128100,
    "relative_attention": True,
    "max_relative_positions": -1,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("google-bert/bert-base-uncased", "bert", {}),
    "RoBERTa": (
        "FacebookAI/roberta-base",
        "roberta",
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "XLM-R": (
        "FacebookAI/xlm-roberta-base",
        "xlm-roberta",
        {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "DistilBERT": ("distilbert/distilbert-base-uncased", "distilbert", {}),
    "ALBERT": (
        "albert/albert-base-v2",
        "albert",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    ),
    "ELECTRA": (
        "google/electra-base-discriminator",
        "electra",
        {
            "embedding_size": 768,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
    ),
    "DeBERTa-v2": (
        "microsoft/deberta-v2-xlarge",
        "deberta-v2",
        DEBERTA
        | {
            "hidden_size": 1536,
            "num_hidden_layers": 24,
            "num_attention_heads": 24,
            "intermediate_size": 6144,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
        },
    ),
    "DeBERTa-v3": (
        "microsoft/deberta-v3-base",
        "deberta-v2",
        DEBERTA
        | {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
    ),
    "MPNet": (
        "microsoft/mpnet-base",
        "mpnet",
        {"vocab_size": 30527, "max_position_embeddings": 514},
    ),
    "ModernBERT": ("answerdotai/ModernBERT-base", "modernbert", {"vocab_size": 50368}),
    "GPT-2": ("openai-community/gpt2", "gpt2", {}),
    "XLNet": ("xlnet/xlnet-large-cased", "xlnet", {}),
    "ConvBERT": ("YituTech/conv-bert-base", "convbert", {}),
    "Mixtral": ("mistralai/Mixtral-8x7B-v0.1", "mixtral", {}),
    "gpt-oss": (
        "openai/gpt-oss-20b",
        "gpt_oss",
        {"num_hidden_layers": 24, "num_local_experts": 32},
    ),
    "Jamba": ("ai21labs/Jamba-v0.1", "jamba", {}),
}
"""Architecture -> published model, its type, and its configuration where it is not the default."""

INTRODUCTION = """\
# What is pruned in which network

This page is made from the code by `python tools/build_models.py`; a test checks that it is current.

The scope `encoder` is every weight matrix inside the repeated blocks of a network, found by its
structure: those of linear layers, convolutions of width one, and parameters of two or three axes
that a layer multiplies by itself, such as the stacked matrices of experts. Embeddings, biases,
normalisation and the head of a task are never pruned. Other parameters of the blocks with two or
more axes (wider convolutions, position tables, coefficients of state-space layers) are listed
below as left out, and in every result that they concern: in its notes and under `left_out` in its
JSON. `encoder+pooler` adds the pooler's matrix if the pre-trained files have one and the head of
the task keeps it. A weight that several blocks share is counted, and masked, once.

Sizes are those of the published configurations, without any head. Any other network that
transformers loads is treated in the same way: `tombola inspect MODEL` shows, before anything is
trained, which of its matrices each scope prunes, what is left out and why, and how large a one-shot
ticket is at 70 and 90 %. Networks without a list of blocks are refused, and so is XLNet with a
classifier, which reads the last position of a padded batch.

| network | whole | `encoder` | matrices | share | `encoder+pooler` | heads |
|---|---|---|---|---|---|---|
"""

NOTES = """
The column *heads* lists the kinds of task for which there is a head: classification, regression,
span (question answering) and mlm (masked language modelling). `small-dense` is the control in which
whole attention heads and neurons are pruned; if they can't be identified in a network's matrices,
it is refused in one line, before anything is trained.

The head is drawn afresh from each seed even if the files have a trained one, which would be the
same for every seed and would already know the task. `--head checkpoint` keeps the head of the
files if it has the same number of classes; that is a different experiment. The head of masked
language modelling is part of pre-training and is kept if the files have it.

Files are read as other programs write them: `module.`, `_orig_mod.` and any other prefix of all
names is removed, and a `config.json` without `model_type` is read by its `architectures`. These are
refused, with the reason: weights that the network has no place for, that aren't finite, or whose
shape differs from the configuration; adapters, even next to a base; quantised checkpoints; git-LFS
pointers. A head needs a backbone: T5's question answering has none of its own, and is refused.

A tokenizer without a pad token, such as GPT-2's, pads with its end-of-text token. Token types are
passed to networks that have more than one, if the tokenizer makes them. RoBERTa and its relatives
reserve two positions: 514 rows are 512 tokens.
"""


def page() -> str:
    """The whole page."""
    rows, sections = zip(*(_describe(name) for name in PUBLISHED), strict=True)
    return INTRODUCTION + "".join(rows) + NOTES + "".join(sections)


def _describe(name: str) -> tuple[str, str]:
    """The row and the section of a network."""
    model, kind, settings = PUBLISHED[name]
    config = AutoConfig.for_model(kind, **settings)
    with torch.device("meta"):
        network = AutoModel.from_config(config)
    whole, encoder = whole_model_size(network), scope_parameters(network, "encoder")
    size = _size(encoder.values())
    heads = [kind for kind in TASK_KINDS if type(config) in TASK_KINDS[kind].head(2).fits]
    all_or_some = "all" if len(heads) == len(TASK_KINDS) else ", ".join(heads)
    row = (
        f"| {name} | {whole:,} | {size:,} | {len(encoder)} | {percent(size / whole, digits=1)} "
        f"| {_with_pooler(network)} | {all_or_some} |\n"
    )
    lines = [f"\n## {name}: `{model}`\n", "Pruned:\n", *_pruned(encoder), "\nNot pruned:\n"]
    lines += _left(network, encoder)
    lines += _left_out(network)
    lines += [f"\n{_reads(network, config)} {_units(encoder, config)}\n"]
    return row, "\n".join(lines)


def _with_pooler(network: nn.Module) -> str:
    try:
        parameters = scope_parameters(network, "encoder+pooler")
    except ModelError:
        return "no pooler"
    return f"{_size(parameters.values()):,} in {len(parameters)}"


def _pruned(encoder: Mapping[str, nn.Parameter]) -> Iterator[str]:
    """A line for each matrix of a block."""
    blocks: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, weight in encoder.items():
        place = (starred(name).removesuffix(".weight"), tuple(weight.shape))
        blocks[place] = blocks.get(place, 0) + 1
    for (name, shape), count in blocks.items():
        yield f"- `{name}`: {count} of {' x '.join(map(str, shape))}"


def _left(network: nn.Module, encoder: Mapping[str, nn.Parameter]) -> Iterator[str]:
    """A line for each part that is not pruned; in blocks these are biases and normalisation."""
    parts: dict[str, int] = {}
    listed = left_out(network, "encoder")
    for name, parameter in network.named_parameters():
        if name not in encoder and name not in listed:
            part = _part(starred(name).split(".")[:-1] or [name])
            parts[part] = parts.get(part, 0) + parameter.numel()
    for name, size in parts.items():
        yield f"- `{name}`: {size:,}"


def _left_out(network: nn.Module) -> Iterator[str]:
    """A line for each parameter of the blocks with two axes or more that is not pruned."""
    sizes: dict[str, int] = {}
    for name, parameter in left_out(network, "encoder").items():
        sizes[starred(name)] = sizes.get(starred(name), 0) + parameter.numel()
    if sizes:
        yield "\nParameters of the blocks, with two axes or more, that are left out:\n"
    for name, size in sizes.items():
        yield f"- `{name}`: {size:,}"


def _part(name: list[str]) -> str:
    """A name up to the number of its block, or of two words."""
    return ".".join(name[: name.index("*") + 1] if "*" in name else name[:2])


def _reads(network: nn.Module, config: PreTrainedConfig) -> str:
    rows = getattr(config, "max_position_embeddings", None) or 0
    if rows <= 0:
        return "Maximum input: no limit."
    positions = rows - reserved_positions(network)
    return f"Maximum input: {positions:,} tokens."


def _units(encoder: Mapping[str, nn.Parameter], config: PreTrainedConfig) -> str:
    try:
        units_of(encoder, config.num_attention_heads)
    except SpecError:
        return "`small-dense` is refused."
    return "`small-dense` works."


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
