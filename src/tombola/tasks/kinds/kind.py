"""What a kind of task is: how rows become examples, and what a network makes of them a score.

Each kind is one file next to this one, which is found by itself; nothing else names it. A kind is
read for planning, too, so its file loads no torch and no numpy: methods that compute import
them when they are called.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tombola.base.registry import Registry
from tombola.kernel.reads import Reads
from tombola.tasks.data.rows import Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions, count_cut, texts_of
from tombola.tasks.kinds.divergence import divergence

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from transformers import PreTrainedTokenizerBase

    from tombola.base.specs import TrainSpec
    from tombola.models.heads import TaskHead
    from tombola.models.network import Network

__all__ = ["TASK_KINDS", "TaskKind", "task_kind"]


class TaskKind(ABC):
    """One kind of task; the defaults are those of a text, or a pair of them, with one label."""

    name: str
    """What YAML files call it; set by `task_kind`."""

    # --- what planning knows ---------------------------------------------------

    metrics: tuple[str, ...]
    """The metrics that fit it, the default first."""
    columns: tuple[str, ...] = ("label",)
    """Columns that it needs in addition to the texts."""
    text_columns: tuple[int, ...] = (1, 2)
    """How many columns with text it can have."""
    knobs: tuple[str, ...] = ()
    """Knobs of a recipe that apply to a task of this kind, but not to every other."""
    held_out: tuple[int, int] = (20, 10)
    """Percent of the rows that are held out for test and dev, where there is no test split."""
    has_classes: bool = False
    """Whether a label is one of several classes, which have names."""
    by_flags: bool = True
    """Whether flags can describe such a task over a user's files."""
    pretrained_head: bool = False
    """Whether the head is trained with the encoder, and so is not drawn from each seed."""
    softened: bool = True
    """Whether a temperature softens the outputs whose distance from a teacher's is taken."""
    same_text_is_fine: bool = False
    """Whether examples may differ in their labels only, though all of their texts are the same."""

    @property
    def labelled(self) -> bool:
        """Whether rows have anything but texts."""
        return bool(self.columns)

    def check_definition(self, task: TaskDefinition) -> None:  # noqa: B027 - a hook
        """Refuse a definition that lacks what only this kind needs.

        Raises: SpecError.
        """

    def grouped_by(self, task: TaskDefinition) -> tuple[str, ...]:
        """The text columns that decide to which split a row goes; equal ones stay together."""
        return task.texts

    def labels_of(
        self, row: Mapping[str, Any], texts: Mapping[str, str], task: TaskDefinition
    ) -> dict[str, Any]:
        """The labels of a row, in the one convention of this kind.

        Args:
            row: the row as it is in the file.
            texts: column -> text.
            task: says which column is the label.

        Raises: BadRowError.
        """
        return {}

    def labels_known(self, rows: Rows, task: TaskDefinition) -> bool:
        """Whether rows can be scored: none of their labels is hidden."""
        return True

    # --- the network -------------------------------------------------------------

    reads: Reads
    """Which of the encoder's vectors the head reads."""

    @abstractmethod
    def head(self, classes: int) -> "TaskHead":
        """The head, with as many outputs as the task has classes if it has any."""

    def check_network(self, network: "Network") -> None:  # noqa: B027 - a hook
        """Refuse a network that lacks what only this kind needs.

        Raises: ModelError.
        """

    # --- examples and batches ----------------------------------------------------

    def encode(
        self,
        rows: Rows,
        task: TaskDefinition,
        tokenizer: "PreTrainedTokenizerBase",
        recipe: "TrainSpec",
    ) -> Examples:
        """Tokenise rows, an example for each; of a pair, the longer text is cut.

        Args:
            rows: the rows of a split.
            task: which columns the texts and the labels are in.
            tokenizer: the network's tokenizer.
            recipe: says how long an example is, and how longer texts are cut.

        Raises: DataError, for a row with a text or a target that can't be used.
        """
        import numpy as np

        columns = [texts_of(rows, name) for name in task.texts]
        encoded = tokenizer(*columns, truncation=True, max_length=recipe.max_length, padding=False)
        inputs = {
            name: [np.array(values, dtype=np.int32) for values in encoded[name]]
            for name in tokenizer.model_input_names
        }
        return Examples(
            rows=rows,
            inputs=inputs,
            targets=[self.target(row, task) for row in rows],
            offsets=[],
            cut=count_cut(encoded, recipe.max_length),
        )

    def target(self, row: Mapping[str, Any], task: TaskDefinition) -> Any:
        """What a network learns to give for a row.

        Raises: DataError.
        """
        return None

    def collate(self, targets: Sequence[Any]) -> Batch:
        """The targets of a batch as the head takes them, under the names of `label_names`."""
        import torch

        return {"labels": torch.tensor(targets)}

    label_names: frozenset[str] = frozenset({"labels"})
    """Tensors of a batch that are not inputs of the network."""

    def corrupt(
        self, batch: Batch, tokenizer: "PreTrainedTokenizerBase", generator: "Generator"
    ) -> Batch:
        """Change a batch at random, such as by masking tokens.

        What is drawn may depend on the batch's shape only, so that a resumed training
        can skip batches without reading them.
        """
        return batch

    def count_targets(self, batch: Batch) -> int:
        """How many terms the loss of a batch is the mean of."""
        return len(batch["input_ids"])

    def distance(self, output: Any, answer: Any, batch: Batch, temperature: float) -> "Tensor":
        """How far the outputs of a network are from those of its teacher, the mean over the terms
        of the loss; see `divergence`."""
        return divergence(output.logits, answer.logits, temperature)

    # --- scores ------------------------------------------------------------------

    prediction_columns: int = 2
    """Columns of `predictions`."""

    def logits(self, output: Any, batch: Batch) -> "tuple[Tensor, ...]":
        """What is read of the network's output, padding left out."""
        return (output.logits,)

    @abstractmethod
    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        """What a network predicts for the examples of a batch, next to what would be right.

        Args:
            output: the network's output.
            labels: the labels of the batch, on the CPU.
            examples: the examples of the split.
            numbers: those in the batch.
            task: what is asked.

        Returns: (batch, prediction_columns), as the kind's metrics take them, unless `by_row` has
            something to do first.
        """

    def by_row(
        self, predictions: Predictions, examples: Examples, task: TaskDefinition
    ) -> Predictions:
        """The predictions of all examples as metrics take them: a row for each row of the split."""
        return predictions

    @abstractmethod
    def constants(
        self, network: "Network", task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        """The predictions of trivial baselines, which say the same whatever the text says.

        Args:
            network: the network whose tokenizer masks tokens, where they are masked.
            task: what is scored.
            test: the examples that scores come from.
        """


TASK_KINDS: Registry[TaskKind] = Registry("kind of task", package=__package__)

K = TypeVar("K", bound=TaskKind)


def task_kind(name: str) -> Callable[[type[K]], type[K]]:
    """Decorate a kind of task to enter it under the name that YAML files call it."""

    def enter(kind: type[K]) -> type[K]:
        made = kind()
        made.name = name
        TASK_KINDS.register(name)(made)
        return kind

    return enter
