"""Knobs of one training, and of which part of it is run."""

import dataclasses
from dataclasses import dataclass, field
from math import inf

from tombola.base.errors import SpecError
from tombola.base.fields import refuse_above
from tombola.base.keys import NUMERIC
from tombola.base.specs.spec import STEPS, Spec

__all__ = ["AUTO", "IN_C", "KERNELS", "SEEDS", "CourseSpec", "TrainSpec"]

SEEDS = ("seed", "order_seed")
"""Knobs that a plan sets for each training; recipes don't have them."""

HEADS = ("fresh", "checkpoint")
"""What the head of a task can start from."""

AUTO = "auto"
PRECISIONS = ("fp32", "bf16", "fp16", AUTO)

IN_C = {"packed-3": ("fp32", "bf16"), "sparse-1": ("fp32",), "sparse-always-1": ("fp32",)}
"""Kernels in C, and the precisions that they have."""

KERNELS = (AUTO, "packed-1", *IN_C)
"""Arithmetics of an encoder's blocks on a CPU."""

EPOCHS = 10**6
"""The largest number of passes over the training examples."""


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """How one network is trained on one task."""

    seed: int = 0
    """Seed of the head, the data order, the masked tokens and dropout, each drawn separately."""

    order_seed: int = -1
    """Seed of data order, masked tokens and dropout; -1 uses the seed of the head."""

    epochs: float = 3.0
    """Passes over the training examples."""

    min_steps: int = 0
    """Minimum number of optimizer steps, with more epochs if needed; 0 for no minimum."""

    batch_size: int = 32
    """Examples in one step."""

    learning_rate: float = 2e-5
    """Peak learning rate; it decays linearly to zero."""

    warmup: float = 0.0
    """Fraction of the steps over which the learning rate rises from zero to its peak."""

    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""

    clip_norm: float = 1.0
    """Norm to which the gradient of the kept weights is clipped."""

    max_length: int = 128
    """Tokens kept of each example, special tokens included."""

    stride: int = 0
    """In a span task, tokens from one window of a long context to the next; 0 truncates it."""

    query_length: int = 0
    """In a span task, tokens kept of the question; 0 for all."""

    blocks: bool = False
    """In masked language modelling, join the texts and cut them into blocks of full length."""

    train_limit: int = 0
    """Training examples used, the first of a shuffle that all seeds share; 0 for all."""

    test_limit: int = 0
    """Test examples scored, two or more, the first of a shuffle that all seeds share; 0 for all."""

    head: str = "fresh"
    """What the task's head starts from: fresh (drawn from the seed) or checkpoint (the head in the
    model's files, which masked language modelling always uses if there is one)."""

    precision: str = "fp32"
    """Arithmetic of the forward and backward pass: fp32, bf16, fp16 (CUDA only, with loss scaling),
    or auto, which uses bf16 if this machine multiplies it at least twice as fast as fp32, and
    otherwise fp32; a result is named by the precision used."""

    accumulation: int = 1
    """Parts in which the gradient of a batch is computed, one after another, to save memory."""

    gradient_checkpointing: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""

    compile: bool = False
    """Compile the network with torch.compile, which takes a minute and a C++ compiler."""

    kernel: str = field(default=AUTO, metadata={NUMERIC: True})
    """Implementation of the blocks of BERT and its relatives on a CPU: packed-1 (PyTorch alone);
    packed-3 (parts in C: faster, and rounds differently); sparse-1, which is packed-3 with linear
    layers, of any model, that skip pruned weights where that was measured to be faster;
    sparse-always-1, where they always do; or auto, which uses the kernel of the plan's results in
    the store, otherwise packed-3 if the C extension was built."""

    distill: float = 0.0
    """Share of a masked network's loss that is the distance of its outputs from those of the dense
    network of the same seed; 0 learns from labels alone, as the dense network always does."""

    distill_temperature: float = 2.0
    """Temperature by which the logits of both networks are divided before they are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in dataclasses.fields(self):
            if each.type is float:  # so that 4 and 4.0 have the same key
                object.__setattr__(self, each.name, float(getattr(self, each.name)))
        self._check_sizes()
        if self.order_seed < -1:
            raise SpecError(f"order_seed must be 0 or more, or -1, got {self.order_seed}.")
        if self.order_seed == self.seed:  # so that one training has one key
            object.__setattr__(self, "order_seed", -1)
        if not 0 <= self.warmup <= 1:
            raise SpecError(f"warmup must be between 0 and 1, got {self.warmup}.")
        if self.head not in HEADS:
            raise SpecError(f"head must be {' or '.join(HEADS)}, got {self.head!r}.")
        if self.precision not in PRECISIONS:
            raise SpecError(f"precision must be fp32, bf16, fp16 or auto, got {self.precision!r}.")
        self._check_kernel()
        self._check_distillation()

    def _check_kernel(self) -> None:
        """Refuse what only one of the kernels can do."""
        if self.kernel not in KERNELS:
            *names, last = KERNELS
            raise SpecError(f"kernel must be {', '.join(names)} or {last}, got {self.kernel!r}.")
        if other := self._keeps_from(self.kernel):
            raise self._beside_kernel(other)

    def _beside_kernel(self, other: str) -> SpecError:
        """The error of a knob that the kernel can't be taken with."""
        takes = " or ".join(IN_C[self.kernel])
        return SpecError(
            f"kernel {self.kernel} works with {takes} only, got {other}. Leave one out."
        )

    def _keeps_from(self, kernel: str) -> str:
        """The first knob that a kernel can't be taken with; empty if there is none."""
        precisions = IN_C.get(kernel, PRECISIONS)
        others = {"compile": self.compile, "gradient_checkpointing": self.gradient_checkpointing}
        others |= {f"precision {self.precision}": self.precision not in (*precisions, AUTO)}
        return next((name for name, set_ in others.items() if set_ and kernel in IN_C), "")

    def settled(self, precision: str) -> "TrainSpec":
        """The recipe with the precision that auto stands for on a machine.

        Raises: SpecError, if its kernel can't be taken with that.
        """
        if precision not in IN_C.get(self.kernel, PRECISIONS):
            raise self._beside_kernel(f"precision {AUTO}, which is {precision} on this machine")
        return dataclasses.replace(self, precision=precision)

    def takes(self, kernel: str) -> bool:
        """Whether the recipe may have this kernel."""
        return not self._keeps_from(kernel)

    def _check_distillation(self) -> None:
        if not 0 <= self.distill <= 1:
            raise SpecError(f"distill must be between 0 and 1, got {self.distill:g}.")
        if not 0 < self.distill_temperature < inf:
            raise SpecError(
                f"distill_temperature must be above 0, got {self.distill_temperature:g}."
            )
        if not self.distill and self.distill_temperature != type(self).distill_temperature:
            raise SpecError(
                f"distill_temperature is for a distillation, got {self.distill_temperature:g} "
                "without distill. Set distill too, such as 0.5."
            )

    def without_teacher(self) -> "TrainSpec":
        """The recipe of a network that learns from labels alone, such as the teacher's."""
        own = type(self)
        return dataclasses.replace(
            self, distill=own.distill, distill_temperature=own.distill_temperature
        )

    def _check_sizes(self) -> None:
        """Refuse numbers that are too small or too large."""
        for name in (
            "epochs",
            "batch_size",
            "learning_rate",
            "clip_norm",
            "max_length",
            "accumulation",
        ):
            if not 0 < getattr(self, name) < inf:
                raise SpecError(f"{name} must be above 0, got {getattr(self, name)}.")
        for name in (
            *("seed", "min_steps", "weight_decay", "train_limit", "test_limit"),
            *("stride", "query_length"),
        ):
            if not 0 <= getattr(self, name) < inf:
                raise SpecError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        for name in (
            *("batch_size", "max_length", "accumulation", "min_steps", "train_limit"),
            *("test_limit", "stride", "query_length"),
        ):
            refuse_above(getattr(self, name), STEPS, name)
        refuse_above(self.epochs, EPOCHS, "epochs")
        if self.test_limit == 1:
            raise SpecError("test_limit must be 0, for all rows, or at least 2, got 1.")

    @property
    def noise_seed(self) -> int:
        """Seed of everything drawn during training: data order, masked tokens, dropout."""
        return self.seed if self.order_seed < 0 else self.order_seed

    def steps(self, examples: int) -> int:
        """Optimizer steps of a training on a number of rows, or of windows or blocks of them."""
        return max(1, self.min_steps, round(self.epochs * self._batches(examples)))

    def lasting(self, steps: int, examples: int) -> "TrainSpec":
        """The recipe of as many steps on this many rows; itself, where it has them."""
        if steps == self.steps(examples):
            return self
        return dataclasses.replace(self, epochs=steps / self._batches(examples), min_steps=0)

    def _batches(self, examples: int) -> int:
        """Steps of one pass over the rows that are used."""
        return -(-min(examples, self.train_limit or examples) // self.batch_size)


@dataclass(frozen=True, kw_only=True)
class CourseSpec(Spec):
    """Which part of a training is run, and over what length its learning rate decays."""

    first: int = 0
    """Optimizer step to begin at: learning rate and data order are those of that step."""

    last: int = 0
    """Optimizer step to stop after, counted from the training's first; 0 for the last."""

    horizon: int = 1
    """Lengths of the training over which the learning rate decays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("first", 0), ("last", 0), ("horizon", 1)):
            value = getattr(self, name)
            if value < least:
                raise SpecError(f"{name} must be an integer of {least} or more, got {value}.")
        if self.last and self.last <= self.first:
            raise SpecError(
                f"last must be after first, got last {self.last} and first {self.first}."
            )


WHOLE_COURSE = CourseSpec()
"""A training from its first step to its last."""
