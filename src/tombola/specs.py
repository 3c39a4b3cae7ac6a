"""Every knob of an experiment: its default, its help text, its validation, and the key.

The string under a field is the help text of its command-line flag. A default never changes in
place: it is part of what names a result. Bump the version of the job kind instead.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Any

from tombola.errors import SpecError
from tombola.registry import unknown

__all__ = [
    "CONTROLS",
    "INITS",
    "EvaluateSpec",
    "FindSpec",
    "TrainSpec",
    "exact",
    "key",
    "knobs",
]

CONTROLS = ("random", "layer-random", "one-shot", "reinit", "shuffle")
"""What a ticket is compared with at its own sparsity, besides the dense network."""

INITS = ("pretrained", "reinit", "shuffle")
"""What the living weights of a ticket can start from."""


def exact(value: str | float | Decimal, what: str = "sparsity") -> Decimal:
    """A fraction as the exact decimal that was written: 0.7 is 7/10, not 0.699999...

    Args:
        value: a fraction in [0, 1); a float stands for its shortest decimal.
        what: the knob's name, for the error.

    Raises: SpecError, if it is no number in [0, 1).
    """
    try:
        decimal = Decimal(str(value)).normalize() + 0  # which turns -0 into 0
    except InvalidOperation:
        decimal = Decimal("NaN")
    if decimal.is_nan():
        raise SpecError(f"{what} is a fraction in [0, 1), got {value!r}.")
    if not 0 <= decimal < 1:
        hint = f" For {value} % write {decimal / 100}." if 1 < decimal < 100 else ""
        raise SpecError(f"{what} is a fraction in [0, 1), got {value}.{hint}")
    return decimal


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How one network is trained on one task."""

    seed: int = 0
    """Seed of the head, the data order, the masked tokens and dropout, each drawn separately."""

    epochs: float = 3.0
    """Passes over the training examples."""

    batch_size: int = 32
    """Examples in one step."""

    learning_rate: float = 2e-5
    """Peak learning rate; it decays linearly to zero."""

    warmup: float = 0.0
    """Fraction of the steps over which the learning rate rises from zero to its peak."""

    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""

    clip_norm: float = 1.0
    """Largest norm of the gradient of the living weights."""

    max_length: int = 128
    """Tokens kept of each example, special tokens included."""

    train_limit: int = 0
    """Train on so many examples, the first of a seeded shuffle that all seeds share; 0 is all."""

    precision: str = "fp32"
    """Arithmetic of the forward and backward pass: fp32 or bf16."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type is float:  # so that 4 and 4.0 have the same key
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        for name in ("epochs", "batch_size", "learning_rate", "clip_norm", "max_length"):
            if not 0 < getattr(self, name) < inf:
                raise SpecError(f"{name} is a positive number, got {getattr(self, name)}.")
        for name in ("seed", "weight_decay", "train_limit"):
            if not 0 <= getattr(self, name) < inf:
                raise SpecError(f"{name} is zero or more, got {getattr(self, name)}.")
        if not 0 <= self.warmup <= 1:
            raise SpecError(f"warmup is a fraction in [0, 1], got {self.warmup}.")
        if self.precision not in ("fp32", "bf16"):
            raise SpecError(f"precision is fp32 or bf16, got {self.precision!r}.")


@dataclass(frozen=True, kw_only=True)
class FindSpec:
    """A search: iterative magnitude pruning of one network on one task, and its controls."""

    model: str = "mini"
    """The embedded model, a folder that save_pretrained() wrote, or a hub id."""

    task: str = "sentiment"
    """The task that the ticket is found on; `tombola tasks` lists them."""

    sparsity: Decimal = Decimal("0.7")
    """Fraction of the scope that is zero in the end, in [0, 1)."""

    schedule: str = "linear"
    """How sparsity grows: linear removes a share of the whole a round, geometric of the rest."""

    step: Decimal = Decimal("0.1")
    """The share that each round removes, in (0, 1)."""

    scope: str = "encoder"
    """The weights that may be pruned: encoder, or encoder+pooler."""

    seeds: tuple[int, ...] = (0,)
    """One complete search each, with its own head, data order and mask."""

    controls: tuple[str, ...] = CONTROLS
    """Networks compared at the final sparsity: random, layer-random, one-shot, reinit, shuffle."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsity", exact(self.sparsity))
        object.__setattr__(self, "step", exact(self.step, "step"))
        if not self.sparsity:
            raise SpecError("sparsity is above 0 in a search, got 0. For 70 % write 0.7.")
        object.__setattr__(self, "seeds", _distinct(self.seeds))
        object.__setattr__(self, "controls", tuple(self.controls))
        for control in self.controls:
            if control not in CONTROLS:
                raise unknown("control", control, (*CONTROLS, "none"))


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    """A test of one fixed ticket on a task, with fresh seeds."""

    task: str = ""
    """The task to train on; by default the one that the ticket was found on."""

    init: str = "pretrained"
    """What the living weights start from: pretrained, reinit or shuffle."""

    seeds: tuple[int, ...] = (100,)
    """Seeds of the trainings, none of them the seed of the search."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", _distinct(self.seeds))
        if self.init not in INITS:
            raise unknown("initialisation", self.init, INITS)


def _distinct(seeds: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(seeds, Iterable):
        raise SpecError(f"seeds are a list, got {seeds!r}. Write [{seeds}].")
    listed = tuple(seeds)
    if not listed or len(set(listed)) < len(listed) or min(listed) < 0:
        raise SpecError(f"seeds are different whole numbers from 0, got {seeds}.")
    return listed


def knobs(spec: Any) -> dict[str, Any]:
    """The knobs of a spec that are not at their default, as JSON has them.

    Defaults are left out, so that a new knob does not change the keys of old results.
    """
    changed = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value != field.default:
            changed[field.name] = format(value, "f") if isinstance(value, Decimal) else value
    return changed


def key(kind: str, version: int, **made_of: Any) -> str:
    """The name of a result: 64 hexadecimal digits, from what made it.

    Args:
        kind: what was done.
        version: of that kind; raised when the same knobs come to mean something else.
        made_of: fingerprints of model and data, and knobs, as JSON has them.
    """
    content = json.dumps([kind, version, made_of], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
