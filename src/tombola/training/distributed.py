"""Ranks: processes that share one training, each with all weights and a part of every batch.

Gradients are added up in one message of fixed layout, by `torch.distributed` under accelerate's
process group. Nothing here wraps the network, so that it can be trained again and again.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from accelerate.utils import DistributedType
from torch import Tensor, nn

from tombola.base.errors import SpecError, TombolaError
from tombola.tasks.examples import Batch, Predictions
from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.mask import Mask
from tombola.training.determinism import restoring_cublas_workspace, set_cublas_workspace

__all__ = [
    "accelerator",
    "add_gradients",
    "add_predictions",
    "agree",
    "agree_on_weights",
    "device_type",
    "part",
    "refuse_too_few_gpus",
    "restoring_process",
    "world_size",
]


def accelerator(*, tracker: str | None = None, folder: str | None = None) -> Accelerator:
    """The device and the rank of this process, joined to the others that were started with it.

    Args:
        tracker: what its `log` sends values to, a name that accelerate knows.
        folder: a folder for the files of the tracker.

    Raises: SpecError, if accelerate is configured for anything but plain data parallelism, or
        if there are fewer GPUs than ranks.
    """
    _refuse_shared_gpus()
    threads = torch.get_num_threads()
    set_cublas_workspace()
    precision = None if is_initialized() else "no"  # a Trainer's stays as it was
    try:
        here = Accelerator(
            cpu=_share_the_processor(),
            mixed_precision=precision,
            log_with=tracker,
            project_dir=folder,
        )
    except (ImportError, ValueError) as error:
        raise _refused(" ".join(str(error).split())) from None
    torch.set_num_threads(threads)  # accelerate changes it at times, and so the last digits
    kind = here.distributed_type
    if kind != DistributedType.NO and not kind.value.startswith("MULTI_"):
        raise _refused(kind.value)
    if here.num_processes != world_size():
        raise _refused(f"{here.num_processes} of {world_size()} processes")
    return here


@contextmanager
def restoring_process() -> Iterator[None]:
    """Restore threads, random generators, environment and accelerate state of this process
    afterwards.

    What a program does after a search must not depend on how many threads that used, or on whether
    it trained anything or found all of it in the store; and it may want another precision.
    """
    threads = torch.get_num_threads()
    ours, all_ours = not is_initialized(), PartialState._shared_state == {}
    initialised = torch.cuda.is_initialized()
    gpus = range(torch.cuda.device_count()) if initialised else ()
    try:
        with torch.random.fork_rng(gpus), restoring_cublas_workspace():
            yield
    finally:
        if torch.cuda.is_initialized() and not initialised:  # seeded as torch.manual_seed does
            torch.cuda.manual_seed_all(torch.initial_seed())
        torch.set_num_threads(threads)
        if ours:
            AcceleratorState._reset_state(reset_partial_state=all_ours)


def device_type() -> str:
    """The type of device that this process trains on: cpu, cuda, mps, xpu."""
    if is_initialized():
        return str(PartialState().device.type)
    return "cpu" if _share_the_processor() else _device() or "cpu"


def _share_the_processor() -> bool:
    """Whether ranks were started on a machine without a device for each of them."""
    return _launched() and _device() in (None, "mps")


def _refuse_shared_gpus() -> None:
    """Refuse ranks of one machine that would have to share a GPU."""
    if _launched() and not _share_the_processor():
        ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
        refuse_too_few_gpus(int(ranks), torch.accelerator.device_count())


def refuse_too_few_gpus(processes: int, gpus: int) -> None:
    """Refuse a training in more processes than there are GPUs: NCCL needs one for each.

    Raises: SpecError.
    """
    if processes > gpus:
        raise SpecError(
            f"expected a GPU for each of {processes} processes, got {gpus}. Use --processes "
            f"{gpus}, or --workers {processes} to share the {'GPUs' if gpus > 1 else 'GPU'} among "
            "trainings."
        )


def _launched() -> bool:
    """Whether torch's launcher has started this process, as one rank of several."""
    available = torch.distributed.is_available()
    return available and torch.distributed.is_torchelastic_launched()


def _device() -> str | None:
    """The accelerator that torch has found on this machine."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device.type if device else None


def _refused(found: str) -> SpecError:
    return SpecError(
        f"expected accelerate to train on one device or with plain data parallelism, got: {found}. "
        f"Start it with torchrun and without FSDP, DeepSpeed or mixed precision."
    )


def world_size() -> int:
    """Number of processes that share this training; 1 until they are connected."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def agree(what: str, digest: str) -> None:
    """Stop every rank unless all have the same.

    Args:
        what: its name, for the error.
        digest: its digest, 64 hexadecimal digits.

    Raises: TombolaError, on every rank, naming the first that differs from rank 0.
    """
    here = accelerator()
    if here.num_processes == 1:
        return
    mine = torch.tensor([*bytes.fromhex(digest)], dtype=torch.uint8, device=here.device)
    digests = [bytes(row.tolist()).hex() for row in here.gather(mine).view(-1, len(mine)).cpu()]
    for rank, other in enumerate(digests):
        if other != digests[0]:
            raise TombolaError(
                f"expected the same {what} on every rank, got {digests[0][:12]} on rank 0 and "
                f"{other[:12]} on rank {rank}. Start all ranks with the same files and versions."
            )


def agree_on_weights(
    what: str, model: nn.Module, parameters: Mapping[str, Tensor], mask: Mask
) -> None:
    """Stop every rank unless all have the same mask and weights, and zeros where it prunes.

    Raises: TombolaError, on every rank.
    """
    if world_size() == 1:
        return
    agree("mask", mask.digest())
    found = {n: mask[n] | (weight.detach() != 0).cpu() for n, weight in parameters.items()}
    agree("pruned weights", Mask(found).digest())
    agree(what, weights_digest({n: p.detach() for n, p in model.named_parameters()}))


def part(batch: Batch, here: Accelerator) -> Batch:
    """This rank's rows of a batch: consecutive ones, as many as another's or one more; or none."""
    rows = torch.arange(len(batch["input_ids"])).tensor_split(here.num_processes)
    return {name: tensor[rows[here.process_index]] for name, tensor in batch.items()}


def add_gradients(parameters: Iterable[nn.Parameter], numbers: Tensor) -> Tensor:
    """Replace each gradient by its sum over the ranks.

    Args:
        parameters: the same ones have a gradient on every rank.
        numbers: float32, to be added up on the way.

    Returns: the sums of the numbers.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    everything = torch.cat([numbers, *(gradient.reshape(-1) for gradient in gradients)])
    torch.distributed.all_reduce(everything)
    sums: Tensor
    sums, *pieces = everything.split([len(numbers), *(g.numel() for g in gradients)])
    for parameter, piece in zip(trained, pieces, strict=True):
        parameter.grad = piece.view(parameter.shape)
    return sums


def add_predictions(predictions: Predictions, here: Accelerator) -> Predictions:
    """The sum over the ranks; exact where each row is zero on all ranks but one."""
    if here.num_processes == 1:
        return predictions
    total = torch.from_numpy(predictions).to(here.device)
    torch.distributed.all_reduce(total)
    return np.asarray(total.cpu().numpy(), dtype=np.float64)
