"""Where a ticket comes from: the network's fingerprint and the versions of what made it."""

import hashlib
import platform
from importlib import metadata

import torch
from torch import nn

from tombola.ticket.scope import backbone

__all__ = ["fingerprint", "versions"]

_PACKAGES = ("torch", "transformers", "numpy", "safetensors", "tombola")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the bits; imports none of them."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@torch.no_grad()
def fingerprint(model: nn.Module) -> str:
    """SHA-256 of the pre-trained backbone, the same under every task head, in hexadecimal.

    Covers what the backbone's state_dict holds in floating point, sorted by name: each tensor
    adds the line "name shape" (dimensions joined by "x"), then its values as little-endian
    float32 in row-major order. The pooler is left out, because some heads drop it and others
    initialise it anew; so are integer buffers such as position_ids.
    """
    sha = hashlib.sha256()
    for name, tensor in sorted(backbone(model).state_dict().items()):
        if tensor.is_floating_point() and not name.startswith("pooler."):
            values = tensor.to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
            sha.update(f"{name} {'x'.join(map(str, tensor.shape))}\n".encode())
            sha.update(values.reshape(-1).view("u1").data)
    return sha.hexdigest()
