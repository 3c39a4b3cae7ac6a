"""Digests of weights, and the fingerprint of the network that a ticket comes from."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tombola.ticket.scope import backbone

__all__ = ["fingerprint", "weights_digest"]


@torch.no_grad()
def fingerprint(model: nn.Module) -> str:
    """SHA-256 of the pre-trained backbone, the same under every task head, in hexadecimal.

    It is the `weights_digest` of what the backbone's state_dict holds in floating point. The
    pooler is left out, because some heads drop it and others initialise it anew; so are integer
    buffers such as position_ids.
    """
    state = backbone(model).state_dict().items()
    return weights_digest(
        {n: t for n, t in state if t.is_floating_point() and not n.startswith("pooler.")}
    )


@torch.no_grad()
def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights, in hexadecimal.

    Sorted by name, each tensor adds the line "name shape" (dimensions joined by "x"), then its
    values as little-endian float32 in row-major order.
    """
    sha = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        values = tensor.to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
        sha.update(f"{name} {'x'.join(map(str, tensor.shape))}\n".encode())
        sha.update(values.reshape(-1).view("u1").data)
    return sha.hexdigest()
