"""A tiny random network of each architecture, with a tokenizer of its kind; all made here."""

import json
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModel, PreTrainedConfig

from conftest import BAD, GOOD, PLAIN
from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.data.encode import encode_split
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import Task, load_task

__all__ = [
    "ARCHITECTURES",
    "HIDDEN",
    "INNER",
    "POSITIONS",
    "ROWS",
    "TASKS",
    "TOKENIZERS",
    "Architecture",
    "load",
    "save",
]

HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 16, 24, 2, 2, 64
ATTENTION, DENSE = HIDDEN * HIDDEN, HIDDEN * INNER

WORDS = [*GOOD, *BAD, *PLAIN]
LETTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation]
BRACKETS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ANGLES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ENDING = "<|endoftext|>"


@dataclass(frozen=True)
class Architecture:
    """What is expected of a network with its parts left at the usual values."""

    config: type[PreTrainedConfig]
    settings: Mapping[str, Any]
    tokenizer: str
    matrices: int = 6
    """Prunable matrices of one block."""
    weights: int = 4 * ATTENTION + 2 * DENSE
    """Prunable weights of one block."""
    blocks: int = LAYERS
    """Blocks of different weights."""
    pooler: bool = False
    """Whether the backbone has one."""
    masked: bool = True
    """Whether there is a head for masked language modelling."""
    units: bool = True
    """Whether whole heads and neurons can be pruned."""

    def has(self, kind: str) -> bool:
        """Whether it has a head for a kind of task."""
        return self.masked or kind != "mlm"

    def make(self) -> PreTrainedConfig:
        """Its tiny configuration."""
        return self.config(**self.settings)


COMMON: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.2,  # so that so narrow a network passes on what it reads
}
BERT_IDS: dict[str, Any] = {"vocab_size": 180, "pad_token_id": 0}
ROBERTA_IDS: dict[str, Any] = {
    "vocab_size": 310,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "type_vocab_size": 1,
}
ROBERTA = COMMON | ROBERTA_IDS | {"max_position_embeddings": POSITIONS + 2}

ARCHITECTURES = {
    "bert": Architecture(transformers.BertConfig, COMMON | BERT_IDS, "wordpiece", pooler=True),
    "roberta": Architecture(transformers.RobertaConfig, ROBERTA, "roberta", pooler=True),
    "xlm-roberta": Architecture(transformers.XLMRobertaConfig, ROBERTA, "xlm-roberta", pooler=True),
    "distilbert": Architecture(
        transformers.DistilBertConfig,
        {
            **BERT_IDS,
            "dim": HIDDEN,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "hidden_dim": INNER,
            "max_position_embeddings": POSITIONS,
            "initializer_range": 0.2,
        },
        "wordpiece",
    ),
    "albert": Architecture(
        transformers.AlbertConfig,
        COMMON | BERT_IDS | {"embedding_size": 8, "num_hidden_layers": 3},
        "albert",
        blocks=1,
        pooler=True,
    ),
    "electra": Architecture(
        transformers.ElectraConfig, COMMON | BERT_IDS | {"embedding_size": 8}, "wordpiece"
    ),
    "deberta-v2": Architecture(
        transformers.DebertaV2Config,
        COMMON
        | BERT_IDS
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "conv_kernel_size": 3},
        "deberta",
        matrices=8,
        weights=6 * ATTENTION + 2 * DENSE,
        units=False,
    ),
    "deberta-v3": Architecture(
        transformers.DebertaV2Config,
        COMMON
        | BERT_IDS
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
        | {"position_biased_input": False, "type_vocab_size": 0, "position_buckets": 8},
        "deberta",
    ),
    "mpnet": Architecture(transformers.MPNetConfig, ROBERTA, "mpnet", pooler=True),
    "modernbert": Architecture(
        transformers.ModernBertConfig,
        COMMON | ROBERTA_IDS | {"cls_token_id": 0, "sep_token_id": 2, "local_attention": 8},
        "modernbert",
        matrices=4,
        weights=4 * ATTENTION + 3 * DENSE,
        units=False,
    ),
    "gpt2": Architecture(
        transformers.GPT2Config,
        {
            "vocab_size": 310,
            "n_embd": HIDDEN,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_inner": INNER,
            "n_positions": POSITIONS,
            "initializer_range": 0.2,
        },
        "gpt2",
        matrices=4,
        masked=False,
        units=False,
    ),
}


TASKS = {
    "classification": load_task("sentiment"),
    "regression": load_task("valence"),
    "span": load_task("gloss-span"),
    "mlm": load_task("mlm"),
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [{"sentence": "good film " * n, "label": n % 2} for n in range(1, 5)],
    "regression": [{"sentence": "good film " * n, "label": n / 2} for n in range(1, 5)],
    "span": [
        {
            "question": "short story",
            "context": "the " * n + "plot was long",
            "answers": {"text": ["plot"], "answer_start": [4 * n]},
        }
        for n in range(1, 5)
    ],
    "mlm": [{"text": "a very good film and a bad plot of an actor " * n} for n in range(1, 5)],
}


def save(name: str, folder: Path, **changes: Any) -> Path:
    """Write the bare network and its tokenizer as save_pretrained() does."""
    architecture = ARCHITECTURES[name]
    config = architecture.config(**{**architecture.settings, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    TOKENIZERS[architecture.tokenizer]().save_pretrained(folder)
    return folder


def load(place: Path, kind: str) -> tuple[Network, Task, Examples]:
    """The network with the head of a kind, and four examples of different lengths."""
    task = TASKS[kind]
    network = load_network(str(place), kind, max(2, len(task.labels)))
    return (
        network,
        task,
        encode_split(ROWS[kind], task, network.tokenizer, TrainSpec(max_length=POSITIONS)),
    )


def wordpiece(make: Any, special: tuple[str, ...], last: tuple[str, ...] = ()) -> Any:
    """Whole words, and letters for the rest; some special tokens after all words."""
    listed = [*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *last]
    return make(vocab={word: n for n, word in enumerate(dict.fromkeys(listed))})


def pieces(make: Any, special: tuple[str, ...], last: tuple[str, ...] = ()) -> Any:
    """Words with the space before them, and letters for the rest (SentencePiece)."""
    scored = [(word, 0.0) for word in special] + [(f"▁{word}", -1.0) for word in WORDS]
    scored += [(letter, -9.0) for letter in ("▁", *LETTERS)]
    return make(vocab=scored + [(word, 0.0) for word in last])


def at_the_end(vocab: dict[str, int], *words: str) -> dict[str, int]:
    """A vocabulary with some words after all others, which close the gap."""
    kept = [word for word in sorted(vocab, key=lambda word: vocab[word]) if word not in words]
    return {word: number for number, word in enumerate([*kept, *words])}


@cache
def byte_pairs() -> tuple[dict[str, int], Any]:
    """Vocabulary and merges of a byte-level BPE that was trained on the words."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [" ".join(WORDS)] * 2, vocab_size=300, special_tokens=[*ANGLES], show_progress=False
    )
    model = json.loads(trained._tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def roberta() -> Any:
    """Byte-level BPE between <s> and </s>."""
    vocab, merges = byte_pairs()
    return transformers.RobertaTokenizer(vocab=at_the_end(vocab, "<mask>"), merges=merges)


def gpt2() -> Any:
    """Byte-level BPE with an end of text, and nothing to pad with."""
    vocab, merges = byte_pairs()
    return transformers.GPT2Tokenizer(vocab={**vocab, ENDING: len(vocab)}, merges=merges)


def fast() -> Any:
    """A tokenizer that has no class of its own, as ModernBERT's."""
    names = ("bos", "pad", "eos", "unk", "mask", "cls", "sep")
    special = zip(names, (*ANGLES, "<s>", "</s>"), strict=True)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=roberta()._tokenizer, **{f"{name}_token": word for name, word in special}
    )


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "wordpiece": lambda: wordpiece(transformers.BertTokenizer, BRACKETS),
    "mpnet": lambda: wordpiece(
        transformers.MPNetTokenizer, ("<s>", "<pad>", "</s>", "[UNK]"), ("<mask>",)
    ),
    "albert": lambda: pieces(
        transformers.AlbertTokenizer, ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    ),
    "deberta": lambda: pieces(transformers.DebertaV2Tokenizer, BRACKETS[:-1], BRACKETS[-1:]),
    "xlm-roberta": lambda: pieces(transformers.XLMRobertaTokenizer, ANGLES[:-1], ANGLES[-1:]),
    "roberta": roberta,
    "modernbert": fast,
    "gpt2": gpt2,
}
