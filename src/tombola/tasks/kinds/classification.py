"""Classification: a text, or a pair of them, belongs to one of several classes."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tombola.base.errors import DataError, SpecError, cut
from tombola.kernel.reads import Reads
from tombola.tasks.data.rows import BadRowError, Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions
from tombola.tasks.kinds.kind import TaskKind, task_kind
from tombola.tasks.labels import class_of, is_number, one_class

if TYPE_CHECKING:
    from tombola.models.heads import TaskHead
    from tombola.models.network import Network

__all__ = ["Classification"]


@task_kind("classification")
class Classification(TaskKind):
    """The head gives a logit for each class."""

    metrics = ("accuracy", "matthews", "binary-f1")
    has_classes = True
    reads = Reads.FIRST

    def check_definition(self, task: TaskDefinition) -> None:
        """Refuse fewer than two classes."""
        if len(task.labels) < 2:
            raise SpecError(f"task {task.name!r} needs two labels or more, got {task.labels}.")

    def labels_of(
        self, row: Mapping[str, Any], texts: Mapping[str, str], task: TaskDefinition
    ) -> dict[str, Any]:
        """The number of the class."""
        label = row.get(task.label)
        if (number := class_of(label, task.labels)) is None:
            raise BadRowError(task.label, _expected(task, label), label)
        return {"label": number}

    def labels_known(self, rows: Rows, task: TaskDefinition) -> bool:
        """Whether every label is the number of a class."""
        labels = (row.get("label") for row in rows)
        return all(type(label) is int and 0 <= label < len(task.labels) for label in labels)

    def head(self, classes: int) -> "TaskHead":
        """Sequence classification."""
        from tombola.models.heads import sequence_head

        problem = {"problem_type": "single_label_classification", "num_labels": classes}
        return sequence_head(self.name, problem, classes=classes)

    def target(self, row: Mapping[str, Any], task: TaskDefinition) -> int:
        """The number of the class."""
        label = row["label"]
        if not isinstance(label, int) or not 0 <= label < len(task.labels):
            last = len(task.labels) - 1
            hidden = " They seem to be hidden: use another --eval-split." if label == -1 else ""
            raise DataError(f"task {task.name!r} has labels 0 to {last}, got {label!r}.{hidden}")
        return int(label)  # true and false, too

    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        """(batch, 2): the likeliest class, and the right one."""
        import torch

        classes = output.logits.argmax(-1).cpu()
        return torch.stack([classes, labels["labels"]], dim=1).double().numpy()

    def constants(
        self, network: "Network", task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        """Each class that the split has."""
        from tombola.tasks.baselines import constant

        for each in sorted(set(test.targets)):
            yield constant(each, test)


def _expected(task: TaskDefinition, label: Any) -> str:
    """What a label may be."""
    if isinstance(label, list | tuple | dict):
        return one_class(label)
    few = ", ".join(map(cut, task.labels[:8])) + (", ..." if len(task.labels) > 8 else "")
    number = is_number(str(label)) and not any(map(is_number, task.labels))
    places = f" or their places from 0 to {len(task.labels) - 1}" if number else ""
    return f"one of the {len(task.labels)} classes {few}{places}"
