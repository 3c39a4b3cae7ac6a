"""What is scored without learning anything from the texts: the floor under every score."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch

from tombola.task.data import Examples
from tombola.task.evaluation import evaluation_batches
from tombola.task.metrics import METRICS, Outcome, answer_f1
from tombola.task.models import Network
from tombola.task.tasks import Task

__all__ = ["trivial_score"]


def trivial_score(network: Network, task: Task, training: Examples, test: Examples) -> float:
    """Score of the trivial baseline on the test split, in points.

    The commonest class, the mean value, the first word of the context, or the commonest token.
    """
    return METRICS[task.metric](TRIVIAL[task.kind](network, task, training, test))


def _commonest_class(_: Network, __: Task, training: Examples, test: Examples) -> Outcome:
    commonest = Counter(training.targets).most_common(1)[0][0]
    return _constant(commonest, test)


def _mean_value(_: Network, __: Task, training: Examples, test: Examples) -> Outcome:
    return _constant(float(np.mean(training.targets)), test)


def _constant(prediction: float, test: Examples) -> Outcome:
    return np.column_stack([np.full(len(test), float(prediction)), np.array(test.targets, float)])


def _first_word(_: Network, task: Task, training: Examples, test: Examples) -> Outcome:
    del training
    context = task.texts[1]
    guesses = [(row[context].split()[:1], row["answers"]["text"]) for row in test.rows]
    f1 = [max(answer_f1("".join(guess), gold) for gold in golds) for guess, golds in guesses]
    return np.column_stack([f1, np.zeros(len(f1))])


def _commonest_token(network: Network, task: Task, training: Examples, test: Examples) -> Outcome:
    counts = np.bincount(
        np.concatenate(training.inputs["input_ids"]), minlength=len(network.tokenizer)
    )
    counts[network.tokenizer.all_special_ids] = 0
    commonest, outcome = int(np.argmax(counts)), np.zeros((len(test), 2))
    for numbers, _, labels in evaluation_batches(network, task, test):
        masked = labels["labels"] >= 0
        hits = (labels["labels"] == commonest) & masked
        outcome[numbers] = torch.stack([hits.sum(1), masked.sum(1)], dim=1).numpy()
    return outcome


TRIVIAL: Mapping[str, Callable[[Network, Task, Examples, Examples], Outcome]] = {
    "classification": _commonest_class,
    "regression": _mean_value,
    "span": _first_word,
    "mlm": _commonest_token,
}
