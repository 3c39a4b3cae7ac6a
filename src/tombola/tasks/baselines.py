"""What is scored without learning anything from the texts: the floor under every score."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from tombola.models.network import Network
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.examples import Examples
from tombola.tasks.metrics import METRICS, Outcome, answer_f1, exact_match, normalise_answer
from tombola.tasks.task import Task

__all__ = ["trivial_score"]

MOST_ANSWERS = 5
"""The commonest answers of a split that are tried on every question."""


def trivial_score(network: Network, task: Task, test: Examples) -> float:
    """The best score of an answer that is the same whatever the text says, in points.

    Every class, the mean value, the commonest answers, the first word or all of the context, or
    the commonest token: chosen on the split that is scored, so that no network looks as if it had
    learned because its classes are as frequent as they are.

    Args:
        network: whose tokens are masked, in masked language modelling.
        task: what is scored.
        test: the examples that scores come from.
    """
    outcomes = CONSTANTS[task.kind](network, task, test)
    return max(METRICS[task.metric](outcome) for outcome in outcomes)


def _classes(_: Network, __: Task, test: Examples) -> Iterator[Outcome]:
    for each in sorted(set(test.targets)):
        yield _constant(each, test)


def _mean_value(_: Network, __: Task, test: Examples) -> Iterator[Outcome]:
    yield _constant(float(np.mean(test.targets)), test)


def _constant(prediction: float, test: Examples) -> Outcome:
    return np.column_stack([np.full(len(test), float(prediction)), np.array(test.targets, float)])


def _answers(_: Network, task: Task, test: Examples) -> Iterator[Outcome]:
    contexts = [str(row[task.texts[1]]) for row in test.rows]
    golds = [row["answers"]["text"] for row in test.rows]
    yield _marked((" ".join(text.split()[:1]) for text in contexts), golds)
    yield _marked(contexts, golds)
    common = Counter(" ".join(normalise_answer(gold)) for each in golds for gold in set(each))
    for answer, _count in common.most_common(MOST_ANSWERS):
        yield _marked([answer] * len(golds), golds)


def _marked(guesses: Iterable[str], golds: list[list[str]]) -> Outcome:
    """F1 and exact match of one guess a question, against the gold answer that agrees best."""
    return np.array(
        [
            (
                max(answer_f1(guess, gold) for gold in each),
                max(exact_match(guess, gold) for gold in each),
            )
            for guess, each in zip(guesses, golds, strict=True)
        ],
        dtype=np.float64,
    )


def _commonest_token(network: Network, task: Task, test: Examples) -> Iterator[Outcome]:
    rows, tokens = [], []
    for numbers, _, labels in evaluation_batches(network, task, test):
        masked = labels["labels"].numpy()
        places = masked >= 0
        rows.append(np.repeat(numbers, places.sum(axis=1)))
        tokens.append(masked[places])
    owners, masked_tokens = np.concatenate(rows), np.concatenate(tokens)
    outcome = np.zeros((len(test), 2))
    if len(masked_tokens):
        commonest = np.bincount(masked_tokens).argmax()
        np.add.at(outcome[:, 0], owners, masked_tokens == commonest)
        np.add.at(outcome[:, 1], owners, 1)
    yield outcome


CONSTANTS: Mapping[str, Callable[[Network, Task, Examples], Iterator[Outcome]]] = {
    "classification": _classes,
    "regression": _mean_value,
    "span": _answers,
    "mlm": _commonest_token,
}
"""Kind of task -> what each answer that is tried makes of the examples."""
