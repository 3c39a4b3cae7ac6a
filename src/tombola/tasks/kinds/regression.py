"""Regression: a text, or a pair of them, has a value."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from tombola.base.errors import DataError
from tombola.kernel.reads import Reads
from tombola.tasks.data.rows import BadRowError, Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions
from tombola.tasks.kinds.kind import TaskKind, task_kind
from tombola.tasks.labels import value_of

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.models.heads import TaskHead
    from tombola.models.network import Network

__all__ = ["Regression"]


@task_kind("regression")
class Regression(TaskKind):
    """The head gives one number, and the loss is its squared error."""

    metrics = ("pearson", "spearman")
    reads = Reads.FIRST
    softened = False

    def labels_of(
        self, row: Mapping[str, Any], texts: Mapping[str, str], task: TaskDefinition
    ) -> dict[str, Any]:
        """The value."""
        label = row.get(task.label)
        if (value := value_of(label)) is None:
            raise BadRowError(task.label, "a finite number", label)
        return {"label": value}

    def labels_known(self, rows: Rows, task: TaskDefinition) -> bool:
        """Whether every label is a finite number."""
        labels = (row.get("label") for row in rows)
        return all(isinstance(label, int | float) and isfinite(label) for label in labels)

    def head(self, classes: int) -> "TaskHead":
        """Sequence classification with one output."""
        from tombola.models.heads import sequence_head

        return sequence_head(self.name, {"problem_type": "regression", "num_labels": 1})

    def target(self, row: Mapping[str, Any], task: TaskDefinition) -> float:
        """The value."""
        if not isinstance(row["label"], int | float):
            raise DataError(f"task {task.name!r} has numbers as labels, got {row['label']!r}.")
        return float(row["label"])

    def distance(self, output: Any, answer: Any, batch: Batch, temperature: float) -> "Tensor":
        """The mean squared difference of the values; no temperature softens them."""
        from torch.nn.functional import mse_loss

        return mse_loss(output.logits.float(), answer.logits.float())

    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        """(batch, 2): the value that the head gives, and the right one."""
        import torch

        values = output.logits[:, 0].cpu()
        return torch.stack([values, labels["labels"]], dim=1).double().numpy()

    def constants(
        self, network: "Network", task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        """The mean value."""
        import numpy as np

        from tombola.tasks.baselines import constant

        yield constant(float(np.mean(test.targets)), test)
