"""Encoder + head: loading, and rewinding to the pre-trained weights.

A network is loaded once. `Network.rewind` puts it back to its pre-trained weights with the fresh
head of a seed, as often as needed, without touching the disk again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tombola.base.errors import ModelError, SpecError
from tombola.base.seeds import derive_seed
from tombola.models.config_digest import config_digest
from tombola.models.heads import TaskHead
from tombola.models.loading import Report, inside, load_network_files, load_with
from tombola.models.tokenizer import fit_tokenizer, reserved_positions
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.init import INITS
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import backbone, scope_parameters

__all__ = ["Network", "NoHeadError", "load_backbone", "load_tokenizer", "load_with_head"]


class NoHeadError(ModelError):
    """The files of a model have no head for the task."""


@dataclass
class Network:
    """A pre-trained encoder with a task head, and its pre-trained weights to return to."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    """What the user called the model."""
    fingerprint: str
    """Fingerprint of the pre-trained backbone, as float32."""
    config_digest: str
    """Digest of what else the files decide: configuration, tokenizer, pre-trained head."""
    fresh: frozenset[str]
    """Parameters that are drawn anew from each seed: the head, and what the files lack."""
    replaced: frozenset[str]
    """Those of them that the files hold: the head of a task that the checkpoint was trained on."""
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
            seed: the seed of the head, and of `init` where that draws.
            init: what the weights in scope start from: a name in INITS.
            scope: the weights that `init` concerns.
        """
        head = torch.Generator().manual_seed(derive_seed(seed, "head"))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.pretrained[name])
            for prefix, module in self.model.named_modules():
                _draw(module, prefix, self.fresh, head, self._std)
            parameters = self.scope(scope)
            # not the parameters, which are written while an initialisation's views are read
            start = {id(p): self.pretrained[name] for name, p in self.model.named_parameters()}
            weights = {name: start[id(parameter)] for name, parameter in parameters.items()}
            drawn = torch.Generator().manual_seed(derive_seed(seed, "init"))
            for name, value in INITS[init](weights, drawn, std=self._std).items():
                parameters[name].copy_(value)

    @property
    def head(self) -> frozenset[str]:
        """Parameters outside of the backbone, pre-trained or not, and all fresh ones."""
        own = frozenset(name for name, _ in self.model.named_parameters())
        return _head_parameters(self.model) | (self.fresh & own)

    @property
    def attention_heads(self) -> int:
        """Attention heads of a block; 0 if the configuration doesn't say."""
        return int(getattr(self.model.config, "num_attention_heads", 0) or 0)

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
        if self.positions is not None and tokens > self.positions:
            raise SpecError(
                f"{self.name!r} reads at most {self.positions} tokens at once, got an example of "
                f"{tokens}. Set max_length to {self.positions} or less."
            )

    @property
    def positions(self) -> int | None:
        """The most tokens that it reads at once; None if the configuration doesn't say."""
        rows = getattr(self.model.config, "max_position_embeddings", None)
        return rows - reserved_positions(self.model) if rows else None

    @property
    def pad(self) -> int:
        """Number of the token that fills up a batch."""
        return int(self.tokenizer.pad_token_id)

    @property
    def _std(self) -> float:
        return float(getattr(self.model.config, "initializer_range", 0.02))


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
    network, report = load_network_files(AutoModel.from_pretrained, model)
    if any(name.startswith("pooler.") for name in report["missing_keys"]):
        network.register_module("pooler", None)
    return network


def load_with_head(model: str, head: TaskHead, *, start: str = "fresh") -> Network:
    """Load an encoder with the head of a task, as float32 on the CPU.

    Args:
        model: an embedded name, a folder that `save_pretrained` wrote, or a hub id.
        head: one that the architecture has.
        start: fresh, to draw the head from each seed; or checkpoint, to start from that of the
            files. A pre-trained head starts from that of the files either way.

    Raises: ModelError, if there is no such model, or it can't carry this head.
    """
    tokenizer = load_tokenizer(model)
    network, report = load_network_files(head.load, model, kind=head.kind, **head.settings)
    lacking, top = _lacking(report), _head_parameters(network)
    if start == "checkpoint" and top & lacking:
        raise _no_head(model, head, report, top)
    drawn = lacking if start == "checkpoint" or head.pretrained else lacking | top
    digest = config_digest(network.config, tokenizer, _not_in_fingerprint(network, drawn))
    fit_tokenizer(tokenizer, network, model=model, head=head)
    return Network(
        model=network,
        tokenizer=tokenizer,
        name=model,
        fingerprint=fingerprint(network),
        config_digest=digest,
        fresh=drawn,
        replaced=top & drawn - set(report["missing_keys"]),
        pretrained={name: p.detach().clone() for name, p in network.named_parameters()},
    )


def _lacking(report: Report) -> frozenset[str]:
    """Parameters that the files lack, or hold in another size."""
    return frozenset([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])


def _head_parameters(network: PreTrainedModel) -> frozenset[str]:
    """Names of the parameters outside of the backbone."""
    body = {id(parameter) for parameter in backbone(network).parameters()}
    return frozenset(name for name, p in network.named_parameters() if id(p) not in body)


def _no_head(model: str, head: TaskHead, report: Report, top: frozenset[str]) -> ModelError:
    """The error for files without a head, or with that of another task."""
    others = sorted(one for one in report["mismatched_keys"] if one[0] in top)
    found = f"{others[0][0]} of shape {tuple(others[0][1])}" if others else "none"
    of = f" of {head.classes} classes" if head.classes else ""
    return NoHeadError(
        f"head 'checkpoint' starts from the head for the kind {head.kind!r}{of} in the files of "
        f"{model!r}, got {found}. Leave it out: each seed then draws a fresh head."
    )


def _not_in_fingerprint(network: nn.Module, drawn: Collection[str]) -> Tensors:
    """The pre-trained parameters that the fingerprint leaves out: those of pooler and head."""
    own = inside(network)
    return {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if name not in drawn and id(parameter) not in own
    }


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder.

    Raises: ModelError, if there is none.
    """
    tokenizer: PreTrainedTokenizerBase = load_with(AutoTokenizer.from_pretrained, model)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes up an empty one
        raise ModelError(
            f"expected a tokenizer next to the model {model!r}, got none with any words. "
            "Save it into the same folder."
        )
    return tokenizer
