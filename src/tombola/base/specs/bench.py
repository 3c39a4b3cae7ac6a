"""Knobs of `tombola bench`."""

from dataclasses import dataclass

from tombola.base.errors import SpecError, brief
from tombola.base.specs.spec import Spec, refuse_repeated

__all__ = ["BenchSpec"]

LIMIT = 1 << 20
"""The most tokens of one call."""


@dataclass(frozen=True, kw_only=True)
class BenchSpec(Spec):
    """How the speed of a network under a ticket is measured, next to the dense network."""

    batch_sizes: tuple[int, ...] = (1, 32)
    """Texts in a call."""

    lengths: tuple[int, ...] = (16, 64, 128)
    """Tokens of each text."""

    runtimes: tuple[str, ...] = ()
    """Runtimes to compare, by name; by default all. Speeds are relative to the first."""

    rounds: int = 20
    """Calls of each runtime, for each batch size and length."""

    seconds: float = 60.0
    """Time limit for the rounds of one batch size and length; at least three are done."""

    threads: int | None = None
    """Threads of each call; by default torch's own number."""

    examples: int = 256
    """Examples of the task's dev split on which a trained network is scored; 0 is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_sizes", "lengths"):
            sizes: tuple[int, ...] = getattr(self, name)
            if not sizes or min(sizes) < 1 or len({*sizes}) < len(sizes):
                raise SpecError(
                    f"{name} must be distinct integers of 1 or more, got {brief(sizes)}."
                )
        refuse_repeated("runtimes", self.runtimes)
        if max(self.batch_sizes) * max(self.lengths) > LIMIT:
            raise SpecError(
                f"expected at most {LIMIT:,} tokens in a call, got {max(self.batch_sizes):,} texts "
                f"of {max(self.lengths):,}. Use smaller batch sizes or lengths."
            )
        if self.rounds < 3:
            raise SpecError(f"rounds must be 3 or more, got {self.rounds}. Use 3 or more.")
        if not self.seconds > 0:
            raise SpecError(f"seconds must be above 0, got {self.seconds}. Use a longer time.")
        if self.threads is not None and self.threads < 1:
            raise SpecError(f"threads must be 1 or more, got {self.threads}. Leave it out.")
        if self.examples < 0:
            raise SpecError(
                f"examples must be 0, for none, or more, got {self.examples}. Use 0 or more."
            )
