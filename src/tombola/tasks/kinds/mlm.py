"""Masked language modelling: which tokens are masked in a text?"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tombola.base.errors import ModelError
from tombola.kernel.reads import IGNORED, Reads
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions
from tombola.tasks.kinds.divergence import divergence
from tombola.tasks.kinds.kind import TaskKind, task_kind

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from transformers import PreTrainedTokenizerBase

    from tombola.models.heads import TaskHead
    from tombola.models.network import Network

__all__ = ["MaskedLanguageModelling", "mask_tokens"]


@task_kind("mlm")
class MaskedLanguageModelling(TaskKind):
    """The head scores every word of the vocabulary for each token."""

    metrics = ("masked-accuracy",)
    columns = ()
    text_columns = (1,)
    knobs = ("blocks",)
    held_out = (1, 1)
    pretrained_head = True
    reads = Reads.LABELLED

    def head(self, classes: int) -> "TaskHead":
        """Masked language modelling; the architecture's own head starts as it was pre-trained."""
        from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM

        from tombola.models.heads import TaskHead

        return TaskHead(
            kind=self.name,
            load=AutoModelForMaskedLM.from_pretrained,
            fits=MODEL_FOR_MASKED_LM_MAPPING,
            reads=self.reads,
            pretrained=self.pretrained_head,
        )

    def check_network(self, network: "Network") -> None:
        """Refuse a tokenizer without a mask token."""
        if network.tokenizer.mask_token_id is None:
            raise ModelError(
                "masked language modelling needs a mask token, and the tokenizer of "
                f"{network.name!r} has none. Use another task or another model."
            )

    def collate(self, targets: Sequence[Any]) -> Batch:
        """Nothing: `corrupt` makes the labels."""
        return {}

    def corrupt(
        self, batch: Batch, tokenizer: "PreTrainedTokenizerBase", generator: "Generator"
    ) -> Batch:
        """Mask tokens, see `mask_tokens`."""
        return mask_tokens(batch, tokenizer, generator)

    def count_targets(self, batch: Batch) -> int:
        """Masked tokens."""
        return int((batch["labels"] >= 0).sum())

    def distance(self, output: Any, answer: Any, batch: Batch, temperature: float) -> "Tensor":
        """The mean over masked tokens."""
        masked = batch["labels"] >= 0

        def read(logits: "Tensor") -> "Tensor":
            if logits.shape[:-1] == masked.shape:
                return logits[masked]
            return logits.flatten(0, -2)  # a kernel that gives masked tokens only

        return divergence(read(output.logits), read(answer.logits), temperature)

    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        """(batch, 2): tokens restored, and tokens masked."""
        import torch

        masked = labels["labels"] >= 0
        hits = torch.zeros_like(masked)
        hits[masked] = output.logits.argmax(-1).cpu() == labels["labels"][masked]
        return torch.stack([hits.sum(1), masked.sum(1)], dim=1).double().numpy()

    def constants(
        self, network: "Network", task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        """The token that is masked most often."""
        import numpy as np

        from tombola.tasks.data.batches import evaluation_batches

        rows, tokens = [], []
        for numbers, _, labels in evaluation_batches(network, task, test):
            masked = labels["labels"].numpy()
            places = masked >= 0
            rows.append(np.repeat(numbers, places.sum(axis=1)))
            tokens.append(masked[places])
        owners, masked_tokens = np.concatenate(rows), np.concatenate(tokens)
        predictions = np.zeros((len(test), 2))
        if len(masked_tokens):
            commonest = np.bincount(masked_tokens).argmax()
            np.add.at(predictions[:, 0], owners, masked_tokens == commonest)
            np.add.at(predictions[:, 1], owners, 1)
        yield predictions


def mask_tokens(
    batch: Batch, tokenizer: "PreTrainedTokenizerBase", generator: "Generator"
) -> Batch:
    """Choose 15 % of the tokens for prediction: 80 % masked, 10 % replaced, 10 % left.

    Special tokens are never chosen. DataCollatorForLanguageModeling of transformers does the same,
    but draws in another order, so that its masks are others.

    Source: Devlin et al. 2019.
    """
    import torch

    ids = batch["input_ids"].clone()
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chance, treatment = torch.rand((2, *ids.shape), generator=generator)
    picked = (chance < 0.15) & ~special
    labels = torch.where(picked, ids, IGNORED)
    ids[picked & (treatment < 0.8)] = tokenizer.mask_token_id
    replaced = picked & (treatment >= 0.9)
    words = torch.randint(len(tokenizer), ids.shape, generator=generator)
    ids[replaced] = words[replaced]
    return {**batch, "input_ids": ids, "labels": labels}
