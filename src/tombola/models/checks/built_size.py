"""A network is not built beyond what its files hold, whatever its configuration claims.

transformers builds it without memory first, module by module, and fills it afterwards. Each
parameter and table that is registered is counted, and the first too many ends it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from tombola.base.errors import ModelError
from tombola.models.files import stored, weight_files

__all__ = ["no_larger"]

TIMES, MORE_VALUES, MORE_PARTS = 2, 10_000_000, 10_000
"""How much more than its files hold a network may have, for heads and tables: times, and then."""

SMALLEST = 2
"""Bytes of the smallest value of a trained network."""


class _TooLargeError(Exception):
    """What stops transformers from building on."""


@contextmanager
def no_larger(find: Callable[[], Path | None], model: str) -> Iterator[None]:
    """While it lasts, this thread can't build a network much larger than its files.

    Args:
        find: gives the folder with the files of the weights, once they are here.
        model: what the user called it.

    Raises: ModelError.
    """
    counted = _Counted(find)
    hooks = [
        register_module_parameter_registration_hook(counted.tensor),
        register_module_buffer_registration_hook(counted.tensor),
        register_module_module_registration_hook(counted.module),
    ]
    try:
        yield
    except Exception:
        if counted.found:
            raise ModelError(
                f"expected a network of {counted.size:,} bytes of weights in {model!r}, and its "
                f"config.json makes one of {counted.found}. Put the configuration of these "
                f"weights there."
            ) from None
        raise
    finally:
        for hook in hooks:
            hook.remove()


class _Counted:
    """What one thread may still build."""

    def __init__(self, find: Callable[[], Path | None]) -> None:
        self.find = find
        self.thread = threading.get_ident()
        self.found = ""

    @cached_property
    def folder(self) -> Path | None:
        return self.find()

    @cached_property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in weight_files(self.folder)) if self.folder else 0

    @cached_property
    def left(self) -> list[int]:
        """Values and parts."""
        tensors = len(stored(self.folder)) if self.folder else 0
        return [TIMES * self.size // SMALLEST + MORE_VALUES, TIMES * tensors + MORE_PARTS]

    def tensor(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None and tensor.is_meta:
            self._take(0, tensor.numel(), "more values")

    def module(self, module: nn.Module, name: str, inner: nn.Module | None) -> None:
        self._take(1, 1, "more layers")

    def _take(self, what: int, count: int, found: str) -> None:
        if self.folder is None or threading.get_ident() != self.thread:
            return
        self.left[what] -= count
        if self.left[what] < 0:
            self.found = found
            raise _TooLargeError(found)
