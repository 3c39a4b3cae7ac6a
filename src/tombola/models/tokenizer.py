"""A tokenizer that fits its network: each token has an embedding, and batches can be padded."""

import inspect
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tombola.base.errors import ModelError
from tombola.kernel.reads import Reads
from tombola.models.heads import TaskHead

__all__ = ["fit_tokenizer", "reserved_positions"]


def fit_tokenizer(
    tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, *, model: str, head: TaskHead
) -> None:
    """Make a tokenizer give what its network takes, or refuse it.

    A tokenizer without a pad token, such as GPT-2's, pads with its end of text: attention does not
    see it. Token types are left out where the network has one type only, or none.

    Args:
        tokenizer: is changed in place.
        network: the network with the head of the task.
        model: what the user called both.
        head: the head of the task.

    Raises: ModelError, if words or padding are missing, or padding would be read.
    """
    _give_pad(tokenizer, model)
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id
    if head.reads is Reads.FIRST and _reads_the_end(network):
        raise ModelError(
            f"{network.config.model_type} reads a text off its last token, which is padding in a "
            f"batch; {model!r} can't do a task of kind {head.kind}. Use another model."
        )
    _check_vocabulary(tokenizer, network, model)
    if not _tells_types_apart(network):
        names = tokenizer.model_input_names
        tokenizer.model_input_names = [name for name in names if name != "token_type_ids"]


def reserved_positions(body: nn.Module) -> int:
    """Rows of the position embeddings that no token ever has.

    RoBERTa and its relatives count positions from the one after that of padding: 514 rows are
    512 tokens.
    """
    for name, module in body.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def _reads_the_end(network: PreTrainedModel) -> bool:
    """Whether its head takes the last place of a batch, as XLNet's does."""
    summary = getattr(network, "sequence_summary", None)
    return getattr(summary, "summary_type", None) == "last"


def _give_pad(tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"batches need a pad token or an end-of-text token, and the tokenizer of {model!r} "
                "has neither. Set tokenizer.pad_token to a word that it has, and save it."
            )
        tokenizer.pad_token = tokenizer.eos_token


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, model: str
) -> None:
    """Refuse a tokenizer with more words than the network has embeddings."""
    try:
        embeddings: Any = network.get_input_embeddings()
    except NotImplementedError:
        raise ModelError(
            "expected a network with one table of embeddings, a row for each word, got "
            f"{type(network).__name__} in {model!r}, which has others. Use another model."
        ) from None
    rows = int(embeddings.weight.shape[0])
    vocabulary = tokenizer.get_vocab()
    last = max(vocabulary, key=lambda word: vocabulary[word])
    if vocabulary[last] >= rows:
        raise ModelError(
            f"expected the tokenizer and the network of {model!r} to have one vocabulary, got "
            f"{rows} embeddings and the number {vocabulary[last]} for the word {last!r}. Save the "
            "network's own tokenizer in the same folder."
        )


def _tells_types_apart(network: PreTrainedModel) -> bool:
    """Whether a network takes token types, and knows more than one."""
    takes = "token_type_ids" in inspect.signature(network.forward).parameters
    return takes and getattr(network.config, "type_vocab_size", 0) > 1
