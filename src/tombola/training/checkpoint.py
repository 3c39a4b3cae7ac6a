"""A training under way, and its copy on disk, from which it resumes bitwise identically."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tombola.base.errors import OutputError
from tombola.base.files import open_plain, read_plain
from tombola.base.folders import clear_folder, new_folder
from tombola.base.json_text import parse_json
from tombola.ticket.mask import Tensors
from tombola.training.distributed import accelerator, agree

__all__ = ["Checkpoint", "Companion", "Training"]

FORMAT, VERSION = "tombola-checkpoint", 3
READABLE = (2, VERSION)
"""Versions that are resumed from; in the second, pruned weights have moments, all zero."""
STATE, DOCUMENT = "state.safetensors", "state.json"
DOCUMENT_LIMIT = 1 << 20
"""Bytes of the document."""
PATIENCE = 20
"""Time from one copy to the next, as a multiple of the time that the last one took."""
COUNTERS = ("steps", "tokens", "summed_learning_rate", "seconds")


class Companion(Protocol):
    """State that changes with each step of a training, and is saved in its checkpoints."""

    def after_step(self, done: int, steps: int) -> None:
        """Called after each step, before it is kept, with the steps done and those of the course;
        may change weights."""

    def tensors(self) -> Tensors:
        """Its state by name, shared with it."""

    def restore(self, tensors: Tensors) -> None:
        """Resume from that state, on the CPU."""


@dataclass
class Training:
    """Everything that changes from step to step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Scales the loss where the arithmetic is fp16; disabled elsewhere."""
    losses: deque[Tensor]
    """The losses of the last steps."""
    companion: Companion | None = None
    steps: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    summed_learning_rate: float = 0.0
    earlier: float = 0.0
    """Seconds before this process took it up."""
    began: float = field(init=False)
    """When this process took it up."""

    def __post_init__(self) -> None:
        self.began = time.monotonic()  # looked up now, so that both ends are of one clock

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.earlier + time.monotonic() - self.began

    def count(self, loss: Tensor, learning_rate: float, tokens: int) -> None:
        """Count a step."""
        self.losses.append(loss)
        self.steps += 1
        self.tokens += tokens
        self.summed_learning_rate += learning_rate

    def tell(self, steps: int) -> None:
        """Report a finished step to the companion."""
        if self.companion is not None:
            self.companion.after_step(self.steps, steps)

    def counters(self) -> dict[str, Any]:
        """What is counted, as JSON has it."""
        scaler = self.scaler.state_dict()
        return {**{name: getattr(self, name) for name in COUNTERS}, "scaler": scaler}

    def tensors(self) -> Tensors:
        """Weights, moments, losses and the companion's state on the CPU, shared with the training
        where it is there."""
        state = self.optimizer.state_dict()["state"]
        moments = {f"{n}.{name}": value for n, own in state.items() for name, value in own.items()}
        losses = {"last": torch.stack([*self.losses])} if self.losses else {}
        groups = {"weights": self._weights(), "moments": moments, "losses": losses}
        if self.companion is not None:
            groups["companion"] = self.companion.tensors()
        return {
            f"{group}.{name}": tensor.detach().cpu().contiguous()
            for group, tensors in groups.items()
            for name, tensor in tensors.items()
        }

    def fits(self, tensors: Tensors) -> bool:
        """Whether these are tensors of a network like this one."""
        theirs = {name: tensor.shape for name, tensor in _group(tensors, "weights").items()}
        return theirs == {name: tensor.shape for name, tensor in self._weights().items()}

    @torch.no_grad()
    def restore(self, tensors: Tensors, counters: Mapping[str, Any]) -> None:
        """Go on where those tensors and counters were taken."""
        own = self._weights()
        for name, tensor in _group(tensors, "weights").items():
            if not torch.equal(own[name].cpu(), tensor):  # a constant buffer may not be written
                own[name].copy_(tensor)
        state: dict[int, Tensors] = {}
        for name, tensor in _group(tensors, "moments").items():
            number, _, moment = name.partition(".")
            state.setdefault(int(number), {})[moment] = tensor.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        device = next(self.model.parameters()).device
        self.losses.extend(_group(tensors, "losses").get("last", torch.empty(0)).to(device))
        self.steps, self.tokens = counters["steps"], counters["tokens"]
        self.summed_learning_rate = counters["summed_learning_rate"]
        self.earlier, self.began = counters["seconds"], time.monotonic()
        self.scaler.load_state_dict(counters["scaler"])
        if self.companion is not None:
            self.companion.restore(_group(tensors, "companion"))

    def _weights(self) -> Tensors:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}


def _group(tensors: Tensors, group: str) -> Tensors:
    """The tensors of a group, under their own names."""
    prefix = f"{group}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


class Checkpoint:
    """The place where a training is kept while it lasts.

    Every copy has a folder of its own, which appears whole and stays until the next one has
    appeared, so that a process that is killed leaves a copy that can be used.

    Args:
        folder: the place; it may not exist, and nothing else in it is touched.
        every: seconds of training between two copies, at least.
        identity: name of the training, which stands for what it starts from: a copy is used by a
            training of the same name, recipe, mask and numerics only.
    """

    def __init__(self, folder: Path, every: float = 60.0, *, identity: str = "") -> None:
        self.folder, self.every, self.identity = folder, every, identity
        self._last, self._took = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether it is time for a copy."""
        return time.monotonic() - self._last >= max(self.every, PATIENCE * self._took)

    def resume(self, training: Training, facts: Mapping[str, Any]) -> None:
        """Take up the newest whole copy of this training, if there is one; remove all others.

        Args:
            training: the training at its start.
            facts: what it must have in common with the copy, as JSON has it.

        Raises: TombolaError, if not all ranks find the same.
        """
        here, self._last = accelerator(), time.monotonic()
        used, sha = None, "0" * 64
        for place in self._places():
            found = _read(place, {**facts, "identity": self.identity})
            if found is not None and training.fits(found[0]):
                tensors, document = found
                training.restore(tensors, document["counters"])
                _restore_generators(tensors["generators"][here.process_index], here.device)
                used, sha = place, document["sha256"]
                break
        agree("checkpoint", sha)
        if here.is_main_process:
            self._remove_all_but(used)

    def save(self, training: Training, facts: Mapping[str, Any]) -> None:
        """Keep a copy; every rank calls this, and the first one writes.

        Raises: OutputError, if the disk refuses.
        """
        here, began = accelerator(), time.monotonic()
        generators = _generators(here.device)
        every = here.gather(generators.to(here.device)).cpu().view(-1, len(generators))
        if here.is_main_process:
            tensors = {**training.tensors(), "generators": every}
            identity = {**facts, "identity": self.identity}
            self._write(tensors, {"facts": identity, "counters": training.counters()})
        self._last = time.monotonic()
        self._took = self._last - began

    def _write(self, tensors: Tensors, document: dict[str, Any]) -> None:
        """Write a copy, complete or not at all, and remove the older ones."""
        target = self.folder / f"step-{document['counters']['steps']}"
        try:
            with new_folder(target) as copy:
                save_file(tensors, copy / STATE)
                document = {"format": FORMAT, "version": VERSION, **document}
                document["sha256"] = _sha256(copy / STATE, document)
                (copy / DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise OutputError(
                f"expected to keep the state of a training in {self.folder}, got: {reason}. "
                f"Free some space or choose another folder."
            ) from None
        self._remove_all_but(target)

    def _places(self) -> list[Path]:
        """Copies that may be whole, the newest first."""
        found = [path for path in self.folder.glob("step-*") if path.name[5:].isdecimal()]
        return sorted(found, key=lambda path: -int(path.name[5:]))

    def _remove_all_but(self, kept: Path | None) -> None:
        for path in [*self._places(), *self.folder.glob(".step-*")]:
            if path != kept:
                with suppress(OSError):
                    clear_folder(self.folder.parent, self.folder.name, path.name)


def _read(place: Path, facts: Mapping[str, Any]) -> tuple[Tensors, dict[str, Any]] | None:
    """Tensors and document of a copy; None if it is damaged or of another training."""
    try:
        document = parse_json(read_plain(place / DOCUMENT, DOCUMENT_LIMIT))
        if not isinstance(document, dict) or document.get("version") not in READABLE:
            return None
        sha = document.pop("sha256", "")
        if document != {
            "format": FORMAT,
            "version": document["version"],
            "facts": json.loads(json.dumps(facts)),
            "counters": document.get("counters"),
        }:
            return None
        if sha != _sha256(place / STATE, document):
            return None
        return load_file(place / STATE), {**document, "sha256": sha}
    except (OSError, ValueError, SafetensorError):
        return None


def _sha256(path: Path, document: Mapping[str, Any]) -> str:
    """SHA-256 of a file and of the rest of its document."""
    with os.fdopen(open_plain(path, links=False), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()


def _generators(device: torch.device) -> Tensor:
    """State of the global generators that dropout draws from: the CPU's, then the device's."""
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state())
    return torch.cat(states)


def _restore_generators(states: Tensor, device: torch.device) -> None:
    own = torch.get_rng_state().numel()
    torch.set_rng_state(states[:own].clone())
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[own:].clone())
