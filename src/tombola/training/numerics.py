"""What the last digits of a result depend on in addition to its spec."""

from importlib.metadata import version
from typing import Any

import torch

from tombola.base.errors import SpecError
from tombola.base.specs import AUTO, IN_C, TrainSpec
from tombola.kernel.fused.extension import available
from tombola.kernel.packed import FUSED, KERNEL, SPARSE, SPARSE_ALWAYS
from tombola.kernel.sparse import crossovers, products
from tombola.kernel.varlen import VARLEN
from tombola.training.distributed import device_type, world_size

__all__ = ["kernel", "lacks_extension", "numerics", "refuse_unavailable"]


def numerics(spec: TrainSpec) -> dict[str, Any]:
    """Device, threads, precision, kernel and versions, as they are kept with a result."""
    name = kernel(spec)
    return {
        "device": device_type(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "precision": spec.precision,
        "kernel": name,
        **_sparse_products(name),
        **{library: version(library) for library in ("torch", "transformers", "accelerate")},
    }


def _sparse_products(name: str) -> dict[str, str]:
    """What else the last digits of a kernel with sparse products depend on."""
    found = products.instruction_set()
    if name == SPARSE:
        found = f"{found}, crossovers {crossovers.table_digest()}"
    return {"sparse_products": found} if name in (SPARSE, SPARSE_ALWAYS) else {}


def kernel(spec: TrainSpec) -> str:
    """What computes the network's blocks, which the last digits depend on.

    Returns: the name of the arithmetic of `kernel.packed` on a CPU or of `kernel.varlen` on a GPU,
    which leave models that they don't know to themselves; `model`, where neither is used; or
    `compiled`.
    """
    if spec.compile:
        return "compiled"
    if spec.gradient_checkpointing:
        return "model"
    return {"cpu": _on_a_cpu(spec), "cuda": VARLEN}.get(device_type(), "model")


def _on_a_cpu(spec: TrainSpec) -> str:
    """The requested kernel, or the fastest one available."""
    if spec.kernel != AUTO:
        return spec.kernel
    return FUSED if available() and spec.precision != "fp16" else KERNEL


def lacks_extension() -> bool:
    """Whether trainings on this machine could be faster with the C extension, and it has none."""
    return device_type() == "cpu" and not available()


def refuse_unavailable(spec: TrainSpec) -> None:
    """Refuse a precision or a kernel that this device or this installation lacks.

    Raises: SpecError.
    """
    if spec.precision == "fp16" and device_type() != "cuda":
        raise SpecError(
            f"precision fp16 needs a CUDA device, got {device_type()}. Use bf16 or fp32."
        )
    name = spec.kernel
    if name not in IN_C:
        return
    if device_type() != "cpu":
        raise SpecError(f"kernel {name} needs a CPU, got {device_type()}. Leave the knob out.")
    if not available() or (name != FUSED and not products.available()):
        raise SpecError(
            f"kernel {name} needs tombola's C extension, which was not built. Install a C compiler "
            f"and reinstall tombola, or use kernel {KERNEL}."
        )
