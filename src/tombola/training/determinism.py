"""Bitwise reproducible training on a GPU, where many kernels have a faster form that isn't."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch

__all__ = [
    "deterministic",
    "is_of_determinism",
    "lacks_deterministic",
    "repeatable",
    "restoring_cublas_workspace",
    "set_cublas_workspace",
]

T = TypeVar("T")

WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""What cuBLAS needs to take the same algorithm every time, before it is first used."""


def set_cublas_workspace() -> None:
    """Set what has to be set before a GPU is first used."""
    os.environ.setdefault(*WORKSPACE)


@contextmanager
def restoring_cublas_workspace() -> Iterator[None]:
    """Take the setting back afterwards, unless it was there before: a program that asks PyTorch for
    deterministic kernels itself is then told that it needs one, as without tombola."""
    name, _ = WORKSPACE
    there = name in os.environ
    try:
        yield
    finally:
        if not there:
            os.environ.pop(name, None)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Use kernels whose results are bitwise reproducible, for as long as the context lasts.

    On a CPU all kernels in use do, so that nothing is changed there. A program that has multiplied
    on a GPU before without the setting of cuBLAS is warned that its bits may differ.
    """
    if device.type != "cuda":
        yield
        return
    wanted = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = cast(Any, torch.utils).deterministic
    filled = fills.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    fills.fill_uninitialized_memory = False  # costs time, and only shows bugs
    try:
        _multiply(device)
        yield
    finally:
        torch.use_deterministic_algorithms(wanted, warn_only=warns)
        fills.fill_uninitialized_memory = filled


def _multiply(device: torch.device) -> None:
    """Multiply once: torch looks at the setting of cuBLAS when it is first used, and never again.
    If it wasn't there, each product is an error from then on."""
    one = torch.ones(1, 1, device=device)
    repeatable(lambda: torch.mm(one, one))


def repeatable(do: Callable[[], T], undo: Callable[[], object] = lambda: None) -> T:
    """What a function gives. Where one of its kernels has no deterministic form, others are taken
    from then on, and it is called once more.

    Args:
        do: may be called twice.
        undo: takes back what it has half done.
    """
    try:
        return do()
    except RuntimeError as error:
        if not lacks_deterministic(error):
            raise
    undo()
    return do()


def is_of_determinism(error: BaseException) -> bool:
    """Whether an error says that a kernel has no deterministic form."""
    return isinstance(error, RuntimeError) and "deterministic" in str(error)


def lacks_deterministic(error: RuntimeError) -> bool:
    """Whether an error says that a kernel has no deterministic form; then others are taken."""
    if not is_of_determinism(error) or torch.is_deterministic_algorithms_warn_only_enabled():
        return False
    torch.use_deterministic_algorithms(True, warn_only=True)
    reason = " ".join(str(error).split())[:160]
    warnings.warn(
        f"two trainings of this network differ in their last bits on this device: {reason}",
        stacklevel=2,
    )
    return True
