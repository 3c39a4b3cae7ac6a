"""Knobs of an export."""

from dataclasses import dataclass

from tombola.base.errors import SpecError
from tombola.base.specs.spec import Spec

__all__ = ["ExportSpec"]


@dataclass(frozen=True, kw_only=True)
class ExportSpec(Spec):
    """How a network is written for another program, and compared with what was written."""

    task: str = ""
    """The task that the network was trained on; by default the one that a ticket was found on, or
    that tombola train has trained it on."""

    examples: int | None = 256
    """Examples of the task's dev split on which file and network are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples is not None and self.examples < 1:
            raise SpecError(
                f"examples must be 1 or more, got {self.examples}. Use 1 or more, or ask for all."
            )
