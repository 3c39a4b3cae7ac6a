"""Bitwise reproducible training on a GPU, where many kernels have a faster form that isn't."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

__all__ = [
    "deterministic",
    "lacks_deterministic",
    "restoring_cublas_workspace",
    "set_cublas_workspace",
]

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

    On a CPU all kernels in use do, so that nothing is changed there.
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
        yield
    finally:
        torch.use_deterministic_algorithms(wanted, warn_only=warns)
        fills.fill_uninitialized_memory = filled


def lacks_deterministic(error: RuntimeError) -> bool:
    """Whether an error says that a kernel has no deterministic form; then others are taken."""
    if "deterministic" not in str(error) or torch.is_deterministic_algorithms_warn_only_enabled():
        return False
    torch.use_deterministic_algorithms(True, warn_only=True)
    reason = " ".join(str(error).split())[:160]
    warnings.warn(
        f"two trainings of this network differ in their last bits on this device: {reason}",
        stacklevel=2,
    )
    return True
