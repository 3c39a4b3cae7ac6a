"""Where the heads and the neurons of a block are, for each architecture that can be shrunk."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn
from transformers.pytorch_utils import Conv1D

from tombola.ticket.scope import backbone

__all__ = ["Attention", "Layer", "Neurons", "layouts_in", "unshared_layouts_in"]

Layer = nn.Linear | Conv1D
"""A layer that multiplies by a matrix; GPT-2's has it transposed."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Where the attention of a block is; names are those of modules within the block."""

    place: str
    """The module that holds the number of heads."""
    into: tuple[str, ...]
    """Layers whose outputs are split into heads; the last one makes the values."""
    parts: int = 1
    """Equal parts of each layer's outputs, such as 3 for a joint query, key and value; each is
    split into heads."""
    out: str
    """The layer that reads the outputs of the heads."""
    relative: tuple[str, ...] = ()
    """Like `into`, for relative positions; not every block has them."""


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """Where the neurons of a block are; names are those of modules within the block."""

    into: str
    """The layer whose outputs are the neurons."""
    gated: bool = False
    """Whether the second half of its outputs multiplies the first after the activation."""
    activation: str
    out: str
    """The layer that reads the neurons."""
    field: str
    """Name of their number in the configuration."""


Layout = tuple[Attention | None, Neurons]

BERT = (
    Attention(
        place="attention.self",
        into=("attention.self.query", "attention.self.key", "attention.self.value"),
        out="attention.output.dense",
    ),
    Neurons(
        into="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
        out="output.dense",
        field="intermediate_size",
    ),
)

LAYOUTS: Mapping[str, Layout] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), BERT),
    "deberta-v2": (
        replace(
            BERT[0],
            into=tuple(f"attention.self.{name}_proj" for name in ("query", "key", "value")),
            relative=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
        ),
        BERT[1],
    ),
    "distilbert": (
        Attention(
            place="attention",
            into=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            out="attention.out_lin",
        ),
        Neurons(into="ffn.lin1", activation="ffn.activation", out="ffn.lin2", field="hidden_dim"),
    ),
    "albert": (
        Attention(
            place="attention",
            into=("attention.query", "attention.key", "attention.value"),
            out="attention.dense",
        ),
        Neurons(into="ffn", activation="activation", out="ffn_output", field="intermediate_size"),
    ),
    "modernbert": (
        Attention(place="attn", into=("attn.Wqkv",), parts=3, out="attn.Wo"),
        Neurons(
            into="mlp.Wi",
            gated=True,
            activation="mlp.act",
            out="mlp.Wo",
            field="intermediate_size",
        ),
    ),
    "gpt2": (
        Attention(place="attn", into=("attn.c_attn",), parts=3, out="attn.c_proj"),
        Neurons(into="mlp.c_fc", activation="mlp.act", out="mlp.c_proj", field="n_inner"),
    ),
    "mpnet": (None, BERT[1]),  # all of its blocks read one table of positions, by head
    "convbert": (None, BERT[1]),  # half of what a head gives comes from a convolution
}
"""Type of model -> where the heads, if they can be cut out, and the neurons of a block are."""


def layouts_in(model: nn.Module) -> Iterator[tuple[nn.Module, Attention | Neurons]]:
    """Every block of a network, once for its heads and once for its neurons, as far as known."""
    kind = getattr(getattr(backbone(model), "config", None), "model_type", None)
    found = LAYOUTS.get(kind, ()) if isinstance(kind, str) else ()
    for block in [*model.modules()]:
        for layout in found:
            if layout is not None and _fits(block, layout):
                yield block, layout


def unshared_layouts_in(model: nn.Module) -> Iterator[tuple[nn.Module, Attention | Neurons]]:
    """Those of `layouts_in` whose modules are in one place only, so that they can be changed."""
    places = Counter(id(inner) for each in model.modules() for inner in each._modules.values())
    for block, layout in layouts_in(model):
        if not any(places[id(inner)] > 1 for inner in _modules_of(block, layout)):
            yield block, layout


def _modules_of(block: nn.Module, layout: Attention | Neurons) -> Iterator[nn.Module]:
    """The modules of a layout, and those within the block that they are in."""
    modules = dict(block.named_modules(remove_duplicate=False))
    place, more = (
        (layout.place, layout.relative)
        if isinstance(layout, Attention)
        else (layout.activation.rpartition(".")[0], ())
    )
    for name in (place, *_layers_of(layout), *more):
        parts = name.split(".")
        inner = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        yield from (modules[each] for each in inner if each in modules and each)


def _fits(block: nn.Module, layout: Attention | Neurons) -> bool:
    """Whether a module has these layers, none of them wrapped or replaced."""
    modules = dict(block.named_modules(remove_duplicate=False))
    return all(isinstance(modules.get(name), Layer) for name in _layers_of(layout))


def _layers_of(layout: Attention | Neurons) -> tuple[str, ...]:
    into = layout.into if isinstance(layout, Attention) else (layout.into,)
    return (*into, layout.out)
