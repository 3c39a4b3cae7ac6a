"""Activation functions that a kernel may compute itself."""

from torch import nn
from torch.nn import functional
from transformers.activations import GELUActivation

__all__ = ["is_gelu"]


def is_gelu(function: object) -> bool:
    """Whether an activation function is the exact GELU, by erf."""
    exact = isinstance(function, nn.GELU) and function.approximate == "none"
    return exact or (isinstance(function, GELUActivation) and function.act is functional.gelu)
