"""Span: the answer to a question is part of its context (extractive question answering)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tombola.kernel.reads import Reads
from tombola.tasks.data.rows import BadRowError, Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions
from tombola.tasks.kinds.answers import answers_of
from tombola.tasks.kinds.divergence import divergence
from tombola.tasks.kinds.kind import TaskKind, task_kind

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from tombola.base.specs import TrainSpec
    from tombola.models.heads import TaskHead
    from tombola.models.network import Network

__all__ = ["QuestionAnswering"]

PADDING = -1e30
"""Score of a token that there is not, in place of -inf, which has no difference from itself."""

MOST_ANSWERS = 5
"""The commonest answers of a split that are tried on every question."""


@task_kind("span")
class QuestionAnswering(TaskKind):
    """The head scores each token as the first and as the last of the answer."""

    metrics = ("f1", "exact-match")
    columns = ("answers",)
    text_columns = (2,)
    knobs = ("stride", "query_length")
    by_flags = False
    same_text_is_fine = True  # answers may be in different places of one text
    reads = Reads.ALL
    label_names = frozenset({"start_positions", "end_positions"})
    prediction_columns = 3

    def grouped_by(self, task: TaskDefinition) -> tuple[str, ...]:
        """The context, so that all questions about it stay together."""
        return task.texts[1:]

    def labels_of(
        self, row: Mapping[str, Any], texts: Mapping[str, str], task: TaskDefinition
    ) -> dict[str, Any]:
        """The answers as SQuAD has them."""
        answers = row.get("answers")
        try:
            return {"answers": answers_of(answers, texts[task.texts[1]])}
        except ValueError as error:
            raise BadRowError("answers", str(error), answers) from None

    def head(self, classes: int) -> "TaskHead":
        """Question answering."""
        from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING, AutoModelForQuestionAnswering

        from tombola.models.heads import TaskHead

        return TaskHead(
            kind=self.name,
            load=AutoModelForQuestionAnswering.from_pretrained,
            fits=MODEL_FOR_QUESTION_ANSWERING_MAPPING,
            settings={"num_labels": 2},
            reads=self.reads,
        )

    def encode(
        self,
        rows: Rows,
        task: TaskDefinition,
        tokenizer: "PreTrainedTokenizerBase",
        recipe: "TrainSpec",
    ) -> Examples:
        """An example for each window of a context, see `encode_spans`."""
        from tombola.tasks.kinds.span_windows import encode_spans

        return encode_spans(rows, task, tokenizer, recipe)

    def collate(self, targets: Sequence[Any]) -> Batch:
        """First and last token of each answer."""
        import torch

        return {
            "start_positions": torch.tensor([first for first, _ in targets]),
            "end_positions": torch.tensor([last for _, last in targets]),
        }

    def distance(self, output: Any, answer: Any, batch: Batch, temperature: float) -> "Tensor":
        """The mean of first and last token, over the tokens of each text."""
        padding = ~batch["attention_mask"].bool()

        def apart(mine: "Tensor", wanted: "Tensor") -> "Tensor":
            mine, wanted = (each.float().masked_fill(padding, PADDING) for each in (mine, wanted))
            return divergence(mine, wanted, temperature)

        first = apart(output.start_logits, answer.start_logits)
        return (first + apart(output.end_logits, answer.end_logits)) / 2

    def logits(self, output: Any, batch: Batch) -> "tuple[Tensor, ...]":
        """Both scores of each token."""
        tokens = batch["attention_mask"].bool()
        return output.start_logits.cpu()[tokens], output.end_logits.cpu()[tokens]

    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        """(batch, 3): the best answer of each window, see `window_answers`."""
        from tombola.tasks.kinds.span_windows import window_answers

        starts, ends = output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()
        return window_answers(starts, ends, examples, numbers, task)

    def by_row(
        self, predictions: Predictions, examples: Examples, task: TaskDefinition
    ) -> Predictions:
        """(questions, 3): how good the best answer of all windows is, see `marked_answers`."""
        from tombola.tasks.kinds.span_windows import marked_answers

        return marked_answers(predictions, examples, task)

    def constants(
        self, network: "Network", task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        """The first word, all of the context, and the commonest answers."""
        from tombola.tasks.metrics import normalise_answer

        contexts = [str(row[task.texts[1]]) for row in test.rows]
        golds = [row["answers"]["text"] for row in test.rows]
        yield _marked((" ".join(text.split()[:1]) for text in contexts), golds)
        yield _marked(contexts, golds)
        common = Counter(" ".join(normalise_answer(gold)) for each in golds for gold in set(each))
        for answer, _count in common.most_common(MOST_ANSWERS):
            yield _marked([answer] * len(golds), golds)


def _marked(guesses: Iterable[str], golds: list[list[str]]) -> Predictions:
    """F1 and exact match of one guess a question, against the gold answer that agrees best."""
    import numpy as np

    from tombola.tasks.metrics import best_agreement

    agreements = [best_agreement(guess, each) for guess, each in zip(guesses, golds, strict=True)]
    return np.array(agreements, dtype=np.float64)
