"""What decides the bits of a training besides the backbone's weights and the recipe."""

import hashlib
import json
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.mask import Tensors

__all__ = ["fittings"]

OF_THE_HEAD = ("id2label", "label2id", "num_labels", "problem_type")
OF_THE_FILE = (
    *("architectures", "dtype", "torch_dtype", "transformers_version"),
    "fine_tuning_learning_rate",
)
"""Fields of a configuration that say how it was saved or is best trained, not what is computed."""


def fittings(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, beside: Tensors) -> str:
    """SHA-256 of configuration, tokenizer, and pre-trained weights beside the fingerprint's.

    Args:
        config: of the network; labels, and how it was saved, are left out.
        tokenizer: as it was loaded.
        beside: pre-trained weights of pooler and head.
    """
    left_out = (*OF_THE_HEAD, *OF_THE_FILE)
    computed = {
        name: value
        for name, value in config.to_diff_dict().items()
        if name not in left_out and not name.startswith("_")
    }
    told = [computed, _reads(tokenizer), weights_digest(beside)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _reads(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """How a tokenizer reads a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    how = backend.to_str() if backend else [type(tokenizer).__name__, tokenizer.get_vocab()]
    return [how, tokenizer.special_tokens_map, tokenizer.padding_side, tokenizer.truncation_side]
