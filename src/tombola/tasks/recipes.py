"""The recipe of a network on a task, which sets what the user leaves open.

Loads no torch, except for a precision that goes by the machine.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

from tombola.base.errors import ModelError
from tombola.base.specs import AUTO, TrainSpec
from tombola.models.embedded import model_path
from tombola.models.files import config_of
from tombola.tasks.task import BERT_BASE, Task

__all__ = ["learning_rate_of", "recipe_for"]

CARRIED = "fine_tuning_learning_rate"
"""Field of a network's config.json with the learning rate that suits it."""

WIDTHS = ("hidden_size", "d_model", "dim", "n_embd", "emb_dim")
"""How configurations call the width of a network, in the order they are looked for."""

BASE_WIDTH, BASE_RATE = 768, Fraction("2e-5")
HIGHEST = Fraction("3e-4")

BASE_NAMES = ("bert-base-uncased", "bert-base-cased")
"""BERT-base on the hub, which need not be asked for its width."""

UNTUNED: Mapping[str, Any] = {"warmup": 0.1, "min_steps": 300}
"""Knobs of a task without a tuned recipe."""


def recipe_for(task: Task, model: str, changes: Mapping[str, Any]) -> TrainSpec:
    """The recipe with which a network is trained on a task.

    A learning rate that was tuned for one network is scaled for another by the ratio of the rates
    that suit the two; a rate that the task names without such a network holds on all. A task
    without a tuned recipe gets a warm-up, and enough steps to learn from few rows.

    Args:
        task: the task, with the knobs that its definition names.
        model: an embedded name, a folder, or a hub id.
        changes: the user's knobs, which take precedence.

    Raises: SpecError, for a value that makes no sense; ModelError, if there is no such model.
    """
    named = {*task.named, *changes}
    model_path(model)
    settled: dict[str, Any] = {}
    if not task.tuned_for:
        settled = {name: value for name, value in UNTUNED.items() if name not in named}
        if "epochs" in named:
            settled.pop("min_steps", None)
        if "learning_rate" not in named:
            settled["learning_rate"] = _rounded(learning_rate_of(model))
    elif "learning_rate" not in changes:
        settled["learning_rate"] = _scaled(task, model)
    return _with_precision(replace(task.recipe, **settled, **changes))


def _with_precision(recipe: TrainSpec) -> TrainSpec:
    """The recipe with the precision that auto stands for here, by which its results are named."""
    if recipe.precision != AUTO:
        return recipe
    from tombola.kernel.native_bf16 import fast_precision

    return recipe.settled(fast_precision())


def _scaled(task: Task, model: str) -> float:
    """The task's learning rate, for another network than it was tuned for."""
    tuned = BASE_RATE if task.tuned_for == BERT_BASE else learning_rate_of(task.tuned_for)
    ratio = learning_rate_of(model) / tuned
    rate = task.recipe.learning_rate
    return rate if ratio == 1 else _rounded(Fraction(str(rate)) * ratio)


def _rounded(rate: Fraction) -> float:
    """Two significant digits."""
    return float(f"{float(rate):.1e}")


def learning_rate_of(model: str) -> Fraction:
    """The peak learning rate with which a network is fine-tuned, where its task says nothing.

    The one that its configuration carries, or 2e-5 x (768 / width)^2, at most 3e-4.

    Raises: ModelError, if it can't be loaded, or carries no positive number.
    Source: BERT-base as in Chen et al. 2020. The square is near to what is published for other
        widths: 1e-5 for RoBERTa-large (1024), 3e-6 for DeBERTa-v2-xlarge (1536), 3e-4 for
        ELECTRA-small (256), 3e-5 to 3e-4 for BERTs of 128 to 768 (Turc et al. 2019).
    """
    config = _configuration(model)
    if (carried := config.get(CARRIED)) is not None:
        positive = isinstance(carried, (int, float)) and 0 < carried < inf
        if not positive or isinstance(carried, bool):
            raise ModelError(
                f"expected a positive number as {CARRIED} in the configuration of {model!r}, got "
                f"{carried!r}. Correct it, or remove it."
            )
        return Fraction(str(carried))
    widths = (config.get(name) for name in WIDTHS)
    width = next((w for w in widths if type(w) is int and w > 0), BASE_WIDTH)
    return min(HIGHEST, BASE_RATE * Fraction(BASE_WIDTH, width) ** 2)


def _configuration(model: str) -> Mapping[str, Any]:
    """The fields of a network's configuration; none of a file that loading will refuse."""
    if model.removeprefix("google-bert/") in BASE_NAMES and not Path(model).is_dir():
        return {}
    folder = Path(model_path(model))
    if (folder / "config.json").is_file():
        return config_of(folder)
    from tombola.models.loading import load_configuration

    config: dict[str, Any] = load_configuration(model).to_dict()
    return config
