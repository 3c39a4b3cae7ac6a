"""A digest of what decides the results of a training, apart from backbone and recipe."""

import hashlib
import json
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.mask import Tensors

__all__ = ["config_digest"]

OF_THE_HEAD = ("id2label", "label2id", "num_labels", "problem_type")
OF_THE_FILE = (
    *("architectures", "dtype", "torch_dtype", "transformers_version"),
    "fine_tuning_learning_rate",
)
"""Fields of a configuration that say how it was saved or is best trained, not what is computed."""


def config_digest(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, head: Tensors
) -> str:
    """SHA-256 of configuration, tokenizer, and the pre-trained weights outside of the fingerprint.

    Args:
        config: the network's configuration; labels, and how it was saved, are left out.
        tokenizer: the tokenizer as it was loaded.
        head: pre-trained weights of pooler and head.
    """
    left_out = (*OF_THE_HEAD, *OF_THE_FILE)
    computed = {
        name: value
        for name, value in config.to_diff_dict().items()
        if name not in left_out and not name.startswith("_")
    }
    content = [computed, _tokenization(tokenizer), weights_digest(head)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _tokenization(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """Everything that decides how a tokenizer reads a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    how = backend.to_str() if backend else [type(tokenizer).__name__, tokenizer.get_vocab()]
    return [how, tokenizer.special_tokens_map, tokenizer.padding_side, tokenizer.truncation_side]
