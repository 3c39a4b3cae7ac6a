"""Encoder + head: loading, and the way back to the pre-trained weights.

A network is loaded once. `Network.rewind` puts it back to its pre-trained weights with the fresh
head of a seed, as often as needed, without touching the disk again.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tombola.errors import ModelError, SpecError
from tombola.task.embedded import EMBEDDED, model_path
from tombola.task.fittings import fittings
from tombola.task.heads import HEADS
from tombola.task.tokenizer import fit_tokenizer, reserved_positions
from tombola.ticket.init import INITS
from tombola.ticket.mask import Tensors
from tombola.ticket.provenance import fingerprint, weights_digest
from tombola.ticket.scope import backbone, scope_parameters

__all__ = [
    "HEADS",
    "Network",
    "hub_answers",
    "load_backbone",
    "load_configuration",
    "load_network",
    "load_tokenizer",
    "stream",
    "weights_digest",
]


@dataclass
class Network:
    """A pre-trained encoder with a task head, and its pre-trained weights to return to."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    """What the user called the model."""
    fingerprint: str
    """Of the pre-trained backbone, as float32."""
    fittings: str
    """Digest of what else the files decide: configuration, tokenizer, pre-trained head."""
    fresh: frozenset[str]
    """Parameters that the pre-trained files lack: the head, drawn anew from each seed."""
    pretrained: Tensors
    """Name -> pre-trained value of every parameter of the model."""

    def scope(self, name: str) -> dict[str, nn.Parameter]:
        """The parameters that may be pruned, named relative to the backbone.

        Raises: ModelError, if the scope asks for a pooler that was not pre-trained.
        """
        parameters = scope_parameters(self.model, name)
        inside = {id(parameter) for parameter in parameters.values()}
        for full, parameter in self.model.named_parameters():
            if full in self.fresh and id(parameter) in inside:
                raise ModelError(
                    f"scope {name!r} needs pre-trained weights, but {self.name!r} has none for "
                    f"{full!r}. Use the scope 'encoder'."
                )
        return parameters

    def rewind(self, seed: int, *, init: str = "pretrained", scope: str = "encoder") -> None:
        """Go back to the pre-trained weights with the fresh head of that seed.

        Args:
            seed: of the head, and of `init` where that draws.
            init: what the weights in scope start from: a name in INITS.
            scope: the weights that `init` concerns.
        """
        head = torch.Generator().manual_seed(stream(seed, "head"))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.pretrained[name])
            for prefix, module in self.model.named_modules():
                _draw(module, prefix, self.fresh, head, self._std)
            parameters = self.scope(scope)
            weights = {name: parameter.detach().cpu() for name, parameter in parameters.items()}
            drawn = torch.Generator().manual_seed(stream(seed, "init"))
            for name, value in INITS[init](weights, drawn, std=self._std).items():
                parameters[name].copy_(value)

    @property
    def head(self) -> frozenset[str]:
        """Parameters outside of the backbone, pre-trained or not, and all fresh ones."""
        inside = {id(parameter) for parameter in backbone(self.model).parameters()}
        own = self.model.named_parameters()
        return frozenset(n for n, p in own if n in self.fresh or id(p) not in inside)

    def weights(self) -> Tensors:
        """A copy of every parameter as it stands, on the CPU."""
        return {
            name: parameter.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, parameter in self.model.named_parameters()
        }

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], *, only_head: bool = False) -> None:
        """Copy trained weights into the network, all or only those of the head.

        Args:
            tensors: what `weights` gave; with `only_head` others than the head's are passed over.
            only_head: whether the encoder stays as it is.

        Raises: ModelError, if names or shapes differ; then nothing was copied.
        """
        own = dict(self.model.named_parameters())
        wanted = {name: own[name] for name in (self.head if only_head else own)}
        if only_head:
            tensors = {name: tensor for name, tensor in tensors.items() if name in wanted}
        for name in sorted({*wanted, *tensors}):
            ours, theirs = (
                str(tuple(side[name].shape)) if name in side else "no such weight"
                for side in (wanted, tensors)
            )
            if ours != theirs:
                raise ModelError(
                    f"expected trained weights of {self.name!r}, got others: {name} has {theirs} "
                    f"and the network {ours}. Train the same network on the same kind of task."
                )
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])

    def load_body(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the trained backbone of a network that may have another head; the own head stays.

        What the other has no use for, such as a pooler, stays as it is, too.

        Raises: ModelError, if shapes differ, or a weight in scope is missing; nothing was copied.
        """
        own, head = dict(self.model.named_parameters()), self.head
        inside = {id(parameter) for parameter in self.scope("encoder").values()}
        for name, parameter in own.items():
            if id(parameter) in inside and name not in tensors:
                raise ModelError(
                    f"expected a trained backbone of {self.name!r}, got none with {name}. "
                    "Train the same network."
                )
        self.load({n: p if n in head else tensors.get(n, p) for n, p in own.items()})

    def check_length(self, tokens: int) -> None:
        """Refuse examples of more tokens than the network has positions.

        Raises: SpecError, if the longest has too many.
        """
        rows = getattr(self.model.config, "max_position_embeddings", None)
        positions = rows - reserved_positions(self.model) if rows else tokens
        if tokens > positions:
            raise SpecError(
                f"{self.name!r} reads at most {positions} tokens at once, got an example of "
                f"{tokens}. Take a max_length of {positions} or less."
            )

    @property
    def pad(self) -> int:
        """Number of the token that fills up a batch."""
        return int(self.tokenizer.pad_token_id)

    @property
    def _std(self) -> float:
        return float(getattr(self.model.config, "initializer_range", 0.02))


def stream(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that no two draws of a run are linked."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _draw(
    module: nn.Module, prefix: str, fresh: frozenset[str], head: torch.Generator, std: float
) -> None:
    """Draw a module's own fresh parameters: matrices normal, biases 0, scales of norms 1."""
    for name, parameter in module.named_parameters(recurse=False):
        if f"{prefix}.{name}".removeprefix(".") in fresh:
            if parameter.ndim > 1:
                value = torch.empty(parameter.shape).normal_(0.0, std, generator=head)
                parameter.copy_(value)
            else:
                parameter.fill_(1.0 if name == "weight" else 0.0)


def load_backbone(model: str) -> PreTrainedModel:
    """The pre-trained encoder without a head, as float32 on the CPU; no pooler but a trained one.

    Raises: ModelError, if there is no such model, or its files hold another network's weights.
    """
    settings: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    network, report = _load(AutoModel.from_pretrained, model, **settings)
    _check_pretrained(network, report["missing_keys"], model)
    if any(name.startswith("pooler.") for name in report["missing_keys"]):
        network.pooler = None
    loaded: PreTrainedModel = network
    return loaded


def load_network(model: str, kind: str, classes: int = 2) -> Network:
    """Load an encoder with the head of a kind of task, as float32 on the CPU.

    Args:
        model: an embedded name, a folder that `save_pretrained` wrote, or a hub id.
        kind: a kind of task, see `HEADS`.
        classes: number of classes; only classification has more than one output.

    Raises: ModelError, if there is no such model, or it can't carry such a head.
    """
    head = HEADS[kind]
    settings = dict(head.settings)
    outputs = {"classification": classes, "regression": 1, "span": 2}
    if kind in outputs:  # whatever the network's own configuration has
        settings["num_labels"] = outputs[kind]
    tokenizer = load_tokenizer(model)
    _check_head(model, kind)
    settings |= {"dtype": torch.float32, "output_loading_info": True}
    network, report = _load(head.load, model, **settings)
    _check_pretrained(network, report["missing_keys"], model)
    fresh = frozenset(report["missing_keys"])
    digest = fittings(network.config, tokenizer, _beside(network, fresh))
    fit_tokenizer(tokenizer, network, model=model, kind=kind)
    return Network(
        model=network,
        tokenizer=tokenizer,
        name=model,
        fingerprint=fingerprint(network),
        fittings=digest,
        fresh=fresh,
        pretrained={name: p.detach().clone() for name, p in network.named_parameters()},
    )


def _check_head(model: str, kind: str) -> None:
    """Refuse a kind of task for which the architecture has no head."""
    config = _load(AutoConfig.from_pretrained, model)
    if type(config) not in HEADS[kind].fits:
        others = [name for name in HEADS if type(config) in HEADS[name].fits]
        raise ModelError(
            f"a task of the kind {kind!r} needs a head that {config.model_type} doesn't have in "
            f"transformers; {model!r} can do {', '.join(others) or 'none'}. Take another task or "
            f"another model."
        )


def _check_pretrained(network: nn.Module, missing: Collection[str], model: str) -> None:
    """Refuse files that lack weights of the backbone, its pooler aside, which some heads drop."""
    inside = _inside(network)
    lost = sorted(n for n, p in network.named_parameters() if n in missing and id(p) in inside)
    if lost:
        raise ModelError(
            f"expected the weights of {type(backbone(network)).__name__} in {model!r}, and its "
            f"files lack {len(lost)} of them, first {lost[0]}. Give the folder of the whole model."
        )


def _inside(network: nn.Module) -> set[int]:
    """The parameters of the backbone without its pooler, by identity: those of the fingerprint."""
    body = backbone(network)
    return {id(p) for name, p in body.named_parameters() if not name.startswith("pooler.")}


def _beside(network: nn.Module, fresh: Collection[str]) -> Tensors:
    """The pre-trained parameters that the fingerprint leaves out: of pooler and head."""
    inside = _inside(network)
    return {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if name not in fresh and id(parameter) not in inside
    }


def load_configuration(model: str) -> PretrainedConfig:
    """The configuration of a network, of the hub too.

    Raises: ModelError, if it can't be loaded.
    """
    config: PretrainedConfig = _load(AutoConfig.from_pretrained, model)
    return config


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model.

    Raises: ModelError, if there is none.
    """
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer.from_pretrained, model)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes up an empty one
        raise ModelError(
            f"expected a tokenizer beside the model {model!r}, got none with any words. "
            "Save it into the same folder."
        )
    return tokenizer


def _load(load: Callable[..., Any], model: str, **settings: Any) -> Any:
    """Load something of a model; whatever fails becomes one line."""
    place = model_path(model)
    cached = not Path(place).is_dir() and not hub_answers()
    try:
        return load(place, trust_remote_code=False, local_files_only=cached, **settings)
    except Exception as error:
        raise _unloadable(model, place, error) from error


@cache
def hub_answers() -> bool:
    """Whether the hub can be reached; asked once, instead of a minute of retries for each file."""
    if HF_HUB_OFFLINE:
        return False
    try:
        with urlopen(Request(ENDPOINT, method="HEAD"), timeout=10):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _unloadable(model: str, place: str, error: Exception) -> ModelError:
    """One line for the many ways in which loading fails."""
    reason = str(error).strip().split("\n")[0]
    if Path(place).is_dir():
        return ModelError(
            f"expected a transformers model in {model!r}, but loading failed: {reason}"
        )
    return ModelError(
        f"{model!r} is neither embedded ({', '.join(EMBEDDED)}) nor a folder, and the hub gave no "
        f"such model: {reason} Without a network, download it elsewhere and give its folder."
    )
