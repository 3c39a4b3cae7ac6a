"""Every knob of an experiment: its default, its help text, its validation, and the key.

The string under a field is the help text of its command-line flag. A default never changes in
place: it is part of what names a result. Bump the version of the job kind instead.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import inf
from typing import Any

from tombola.base.errors import SpecError, brief, cut
from tombola.base.fields import check_types, number, refuse_above
from tombola.base.registry import unknown

__all__ = [
    "CONTROLS",
    "ENGINES",
    "INITS",
    "OPTIONAL_CONTROLS",
    "SCOPES",
    "SEEDS",
    "TUNE",
    "CourseSpec",
    "EvaluateSpec",
    "FindSpec",
    "ImpSpec",
    "LabSpec",
    "Spec",
    "TaskSpec",
    "TrainSpec",
    "exact",
    "key",
    "knobs",
]

CONTROLS = ("random", "layer-random", "one-shot", "reinit", "shuffle")
"""What a ticket is compared with at its own sparsity, besides the dense network."""

OPTIONAL_CONTROLS = ("random-init", "shuffle-layers", "small-dense")
"""What it is compared with besides where it is asked for by name."""

INITS = ("pretrained", "reinit", "shuffle", "shuffle-layers")
"""What the living weights of a ticket can start from."""


SCOPES = ("encoder", "encoder+pooler")
"""Which weights may be pruned: the matrices of the repeated blocks, and the pooler's."""

HEADS = ("fresh", "checkpoint")
"""What the head of a task can start from."""

ENGINES = ("local", "ray")
"""Who does the jobs of a plan."""

TUNE = "tune"
"""What may stand for the learning rate of a search: the best of three on dev."""

SEEDS = ("seed", "order_seed")
"""Knobs of a TrainSpec that each training gets from its plan, and no recipe has."""


PLACES = 64
"""Decimal places of a fraction."""
STEPS = 2**31 - 1
"""The largest number of examples, tokens or optimizer steps that a knob takes."""
EPOCHS = 10**6
"""The most passes over the training examples."""
PROCESSES = 4096
"""The most workers, threads and processes."""


def exact(value: str | float | Decimal, what: str = "sparsity") -> Decimal:
    """A fraction as the exact decimal that was written: 0.7 is 7/10, not 0.699999...

    Args:
        value: a fraction in [0, 1); a float stands for its shortest decimal.
        what: the knob's name, for the error.

    Raises: SpecError, if it is no number in [0, 1).
    """
    try:
        written = number(str(value), Decimal)
    except (ArithmeticError, ValueError):
        written = Decimal("NaN")
    if written.is_nan():
        raise SpecError(f"{what} is a fraction in [0, 1), got {brief(value)}.")
    if not 0 <= written < 1:
        hint = f" For {value} % write {written / 100}." if 1 < written < 100 else ""
        raise SpecError(f"{what} is a fraction in [0, 1), got {cut(value)[1:-1]}.{hint}")
    if written and written.adjusted() < -PLACES:
        raise SpecError(
            f"{what} has at most {PLACES} decimal places, got {cut(value)[1:-1]}. Write 0 for none."
        )
    return written.normalize() + 0 if written else Decimal(0)  # which turns -0 into 0


class Spec:
    """A group of knobs, each of which holds what it is declared as."""

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """How one network is trained on one task."""

    seed: int = 0
    """Seed of the head, the data order, the masked tokens and dropout, each drawn separately."""

    order_seed: int = -1
    """Another seed of the data order, the masked tokens and dropout than the head's; -1 is none."""

    epochs: float = 3.0
    """Passes over the training examples."""

    min_steps: int = 0
    """Train at least so many optimizer steps, in more epochs where need be; 0 is no minimum."""

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

    stride: int = 0
    """Tokens from one window of a long context to the next, in a span task; 0 cuts it off."""

    query_length: int = 0
    """Tokens kept of the question, in a span task; 0 is all."""

    blocks: bool = False
    """Join the texts and cut them into blocks of max_length, in masked language modelling."""

    train_limit: int = 0
    """Train on so many examples, the first of a seeded shuffle that all seeds share; 0 is all."""

    test_limit: int = 0
    """Score on so many test examples, two or more, chosen as those of train_limit are; 0 is all."""

    head: str = "fresh"
    """What the task's head starts from: fresh draws it from the seed, checkpoint takes that of the
    model's files, as masked language modelling always does where they have one."""

    precision: str = "fp32"
    """Arithmetic of the forward and backward pass: fp32, bf16, or fp16 (CUDA, loss scaling)."""

    accumulation: int = 1
    """Take the gradient of a batch in so many parts, one after another, to save memory."""

    gradient_checkpointing: bool = False
    """Compute each block again in the backward pass instead of keeping what it made."""

    compile: bool = False
    """Compile the network with torch.compile, which takes a minute and a C++ compiler."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            if field.type is float:  # so that 4 and 4.0 have the same key
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        self._check_sizes()
        if self.order_seed < -1:
            raise SpecError(f"order_seed is zero or more, or -1, got {self.order_seed}.")
        if self.order_seed == self.seed:  # so that one training has one key
            object.__setattr__(self, "order_seed", -1)
        if not 0 <= self.warmup <= 1:
            raise SpecError(f"warmup is a fraction in [0, 1], got {self.warmup}.")
        if self.head not in HEADS:
            raise SpecError(f"head is {' or '.join(HEADS)}, got {self.head!r}.")
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise SpecError(f"precision is fp32, bf16 or fp16, got {self.precision!r}.")

    def _check_sizes(self) -> None:
        """Refuse a number of anything that is too small or too large."""
        for name in (
            "epochs",
            "batch_size",
            "learning_rate",
            "clip_norm",
            "max_length",
            "accumulation",
        ):
            if not 0 < getattr(self, name) < inf:
                raise SpecError(f"{name} is a positive number, got {getattr(self, name)}.")
        for name in (
            *("seed", "min_steps", "weight_decay", "train_limit", "test_limit"),
            *("stride", "query_length"),
        ):
            if not 0 <= getattr(self, name) < inf:
                raise SpecError(f"{name} is zero or more, got {getattr(self, name)}.")
        for name in (
            *("batch_size", "max_length", "accumulation", "min_steps", "train_limit"),
            *("test_limit", "stride", "query_length"),
        ):
            refuse_above(getattr(self, name), STEPS, name)
        refuse_above(self.epochs, EPOCHS, "epochs")
        if self.test_limit == 1:
            raise SpecError("test_limit is 0, for all rows, or two rows or more, got 1.")

    @property
    def noise_seed(self) -> int:
        """Seed of all that is drawn while it trains: data order, masked tokens, dropout."""
        return self.seed if self.order_seed < 0 else self.order_seed

    def steps(self, examples: int) -> int:
        """Optimizer steps of a training on so many examples: rows, or windows or blocks of them."""
        used = min(examples, self.train_limit or examples)
        return max(1, self.min_steps, round(self.epochs * -(-used // self.batch_size)))


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """What is scored of a task, and what the columns of a user's own data are."""

    eval_split: str = ""
    """Split that scores come from: test, dev, or validation, which is the whole development set."""

    kind: str = ""
    """Of csv:DIR: classification (the default), regression or mlm."""

    text_columns: tuple[str, ...] = ()
    """Of csv:DIR and of mlm: the column with the text, or the two of a pair (by default text)."""

    label_column: str = ""
    """Of csv:DIR: the column with the class or the number (by default label)."""

    labels: tuple[str, ...] = ()
    """Of csv:DIR: names of the classes in order (by default those of the training rows, sorted)."""

    metric: str = ""
    """Of csv:DIR: what is scored (by default accuracy, pearson or masked-accuracy)."""

    drop_bad_rows: bool = False
    """Leave out rows with a label, text or answer that can't be used, and count them."""

    margin: float | None = None
    """Largest loss against dense that still counts as matching, in points (by default the task's;
    of a task without one the larger of 1 and 5 % of what dense gains over a trivial baseline)."""


@dataclass(frozen=True, kw_only=True)
class CourseSpec(Spec):
    """Which part of a training is done, and over what length its learning rate decays."""

    first: int = 0
    """Optimizer step to begin at: learning rate and data order are those of that step."""

    last: int = 0
    """Stop after so many optimizer steps, counted from the training's first; 0 is the end."""

    horizon: int = 1
    """Decay the learning rate over so many lengths of the training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("first", 0), ("last", 0), ("horizon", 1)):
            value = getattr(self, name)
            if value < least:
                raise SpecError(f"{name} is a whole number from {least}, got {value}.")
        if self.last and self.last <= self.first:
            raise SpecError(
                f"last is a step after first, got last {self.last} and first {self.first}."
            )


@dataclass(frozen=True, kw_only=True)
class ImpSpec(Spec):
    """Iterative magnitude pruning: how fast weights go, and what the others go back to."""

    sparsity: Decimal = Decimal("0.7")
    """Fraction of the scope that is zero in the end, in [0, 1)."""

    schedule: str = "linear"
    """How sparsity grows: linear removes a share of the whole a round, geometric of the rest."""

    step: Decimal = Decimal("0.1")
    """The share that each round removes, in (0, 1)."""

    rounds: tuple[Decimal, ...] = ()
    """Sparsity after each round, the last one final, outright instead of schedule and step."""

    rewind_step: int = 0
    """Rewind weights, head and learning rate to this optimizer step; 0 is before training."""

    rewind_fraction: Decimal = Decimal(0)
    """Rewind to the step after this fraction of a training, in [0, 1), instead of a number."""

    no_rewind: bool = False
    """Never rewind: each round trains the weights of the last one further (standard pruning)."""

    keep_head: bool = False
    """Rewind the encoder only: the task head is trained further from round to round."""

    long_horizon: bool = False
    """Decay the learning rate over all rounds together, beginning at its peak in each of them."""

    prune_first: bool = False
    """Take the first mask from the pre-trained magnitudes, before any training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = self.sparsity is not ImpSpec.sparsity  # 0.7 may be asked for, too
        for name in ("sparsity", "step", "rewind_fraction"):
            object.__setattr__(self, name, exact(getattr(self, name), name))
        if self.rounds:
            self._follow_rounds(asked)
        if not self.sparsity:
            raise SpecError("sparsity is above 0 in a search, got 0. For 70 % write 0.7.")
        refuse_above(self.rewind_step, STEPS, "rewind_step")
        if self.rewind_step < 0:
            raise SpecError(f"rewind_step is zero or more, got {self.rewind_step}.")
        if self.rewind_step and self.rewind_fraction:
            raise SpecError(
                f"rewind_step and rewind_fraction are two ways to name one step, got "
                f"{self.rewind_step} and {self.rewind_fraction}. Leave one out."
            )
        for name in ("rewind_step", "rewind_fraction", "keep_head"):
            if self.no_rewind and getattr(self, name):
                raise SpecError(
                    f"no_rewind trains all weights further, and {name} says what to rewind, "
                    f"got both. Leave one out."
                )

    def _follow_rounds(self, asked: bool) -> None:
        """Refuse rounds that don't rise or that another knob contradicts; the last is the end."""
        rounds = tuple(exact(each, "each of the rounds") for each in self.rounds)
        listed = ", ".join(f"{each:f}" for each in rounds)
        if any(now <= before for before, now in pairwise((Decimal(0), *rounds))):
            raise SpecError(f"rounds are sparsities that rise from above 0, got {listed}.")
        for name in ("schedule", "step"):
            if getattr(self, name) != getattr(ImpSpec, name):
                raise SpecError(
                    f"rounds give every sparsity outright, got {listed} and {name} "
                    f"{getattr(self, name)}. Leave one out."
                )
        if asked and self.sparsity != rounds[-1]:
            raise SpecError(
                f"the last of the rounds is the final sparsity, got rounds {listed} and sparsity "
                f"{self.sparsity:f}. Leave sparsity out."
            )
        object.__setattr__(self, "rounds", rounds)
        object.__setattr__(self, "sparsity", rounds[-1])


@dataclass(frozen=True, kw_only=True)
class FindSpec(ImpSpec):
    """A search: iterative magnitude pruning of one network on one task, and its controls."""

    model: str = "mini"
    """The embedded model, a folder that save_pretrained() wrote, or a hub id."""

    task: str = "sentiment"
    """The task that the ticket is found on; `tombola tasks` lists them."""

    scope: str = "encoder"
    """The weights that may be pruned: encoder, or encoder+pooler."""

    seeds: tuple[int, ...] = (0,)
    """One complete search each, with its own head, data order and mask."""

    controls: tuple[str, ...] = CONTROLS
    """Networks compared at the final sparsity: random, layer-random, one-shot, reinit, shuffle;
    and where named random-init, shuffle-layers, small-dense."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in SCOPES:
            raise unknown("scope", self.scope, SCOPES)
        _check_distinct(self.seeds)
        for control in self.controls:
            if control not in CONTROLS + OPTIONAL_CONTROLS:
                raise unknown("control", control, (*CONTROLS, *OPTIONAL_CONTROLS, "none"))


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec(Spec):
    """A test of one fixed ticket on a task, with fresh seeds."""

    task: str = ""
    """The task to train on; by default the one that the ticket was found on."""

    init: str = "pretrained"
    """What the living weights start from: pretrained, reinit, shuffle or shuffle-layers."""

    seeds: tuple[int, ...] = (100,)
    """Seeds of the trainings, none of them the seed of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_distinct(self.seeds)
        if self.init not in INITS:
            raise unknown("initialisation", self.init, INITS)


@dataclass(frozen=True, kw_only=True)
class LabSpec(Spec):
    """Where results are kept, and who does the work; nothing of it names a result."""

    store: str = "runs/store"
    """Folder that keeps every finished training and mask; what is there is not done again."""

    engine: str = "local"
    """Who does the jobs: local, or ray for a Ray cluster."""

    workers: int = 0
    """Jobs done at once; 0 is one on this machine, and as many as a Ray cluster has room for."""

    threads: int = 0
    """Threads of each process; 0 shares this machine's cores among the workers."""

    processes: int = 1
    """Processes that share the batches of one training (data parallel)."""

    ray_address: str = ""
    """Address of a Ray cluster that is there already; without it one is started here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        for name in ("workers", "threads"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} is zero or more, got {getattr(self, name)}.")
        for name in ("workers", "threads", "processes"):
            refuse_above(getattr(self, name), PROCESSES, name)
        if self.processes < 1:
            raise SpecError(f"processes is one or more, got {self.processes}.")


def _check_distinct(seeds: Collection[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise SpecError(f"seeds are different whole numbers from 0, got {brief(seeds)}.")


def knobs(spec: Any) -> dict[str, Any]:
    """The knobs of a spec that are not at their default, as JSON has them.

    Defaults are left out, so that a new knob does not change the keys of old results.
    """
    changed = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value != field.default:
            changed[field.name] = _plain(value)
    return changed


def _plain(value: Any) -> Any:
    """Decimals as their text."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return format(value, "f") if isinstance(value, Decimal) else value


def key(kind: str, version: int, **made_of: Any) -> str:
    """The name of a result: 64 hexadecimal digits, from what made it.

    Args:
        kind: what was done.
        version: of that kind; raised when the same knobs come to mean something else.
        made_of: fingerprints of model and data, and knobs, as JSON has them.
    """
    content = json.dumps([kind, version, made_of], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
