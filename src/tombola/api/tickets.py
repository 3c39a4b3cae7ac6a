"""Tickets without training: from pre-trained weights, and from others' masks."""

from decimal import Decimal
from pathlib import Path

from torch import nn

from tombola.base.errors import ModelError, naming_keywords
from tombola.base.fields import StrPath, path_text
from tombola.base.keys import exact_fraction
from tombola.models.embedded import EMBEDDED, lasting_name
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.hold.places import adapter_in, unwrapped
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import shortest_sparsity
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

__all__ = ["import_ticket", "named_network", "one_shot"]


@naming_keywords()
def one_shot(
    model: StrPath | nn.Module, *, sparsity: float | str | Decimal, scope: str = "encoder"
) -> Ticket:
    """The ticket of the largest pre-trained weights, found without training.

    Args:
        model: an embedded name, a folder that `save_pretrained()` wrote, a hub id, or a pre-trained
            network with or without a task head.
        sparsity: fraction of the scope that is zero, in [0, 1).
        scope: the weights that may be pruned.

    Raises: TombolaError, if the model or the sparsity is not usable.
    """
    from tombola.finders.scores import magnitude

    target = exact_fraction(sparsity)
    network, name = named_network(model)
    parameters = scope_parameters(network, scope)
    weights = {name: parameter.detach() for name, parameter in parameters.items()}
    scores = magnitude(weights)
    return Ticket(
        mask=keep_top(scores, Mask.full(parameters), sparsity=target),
        model=name,
        fingerprint=fingerprint(network),
        scope=scope,
        sparsity=target,
        scores="magnitude",
    )


@naming_keywords()
def import_ticket(
    source: StrPath, *, model: StrPath | nn.Module, scope: str | None = None
) -> Ticket:
    """A ticket from masks made by other programs, or from the zeros of a checkpoint.

    Args:
        source: what `torch.save()` wrote of masks, of a state dict after torch's pruning, or of
            weights; a safetensors file; or a folder that `save_pretrained()` wrote.
        model: the pre-trained network that the masks belong to: a name, a folder, or the network.
        scope: the weights that could be pruned; by default the encoder's, and the pooler's where
            that is masked or pruned.

    Raises: TombolaError, if source or model are not usable or don't belong together.
    """
    from tombola.ticket.imported.reading import read_imported

    imported = read_imported(Path(path_text(source, "a file or a folder of masks or weights")))
    network, name = named_network(model)
    chosen = scope or imported.scope
    mask = imported.mask(scope_parameters(network, chosen))
    ignored = {} if scope else imported.ignored
    return Ticket(
        mask=mask,
        model=name,
        fingerprint=fingerprint(network),
        scope=chosen,
        sparsity=shortest_sparsity(mask.pruned, mask.size),
        provenance={
            "imported": "masks" if imported.masks else "zeros of weights",
            **({"ignored_zeros": ignored} if ignored else {}),
        },
    )


def _refuse_meta(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if parameter.is_meta:
            raise ModelError(
                f"expected a network with its weights, got one whose {name} has none: it is on the "
                "meta device or offloaded. Load the network whole, without a device_map."
            )


def named_network(model: StrPath | nn.Module) -> tuple[nn.Module, str]:
    """A network, and what a ticket calls it.

    Raises: ModelError, if there is no such model, or it has adapters; TicketError, if FSDP has
        sharded it.
    """
    if isinstance(model, nn.Module):
        network = unwrapped(model)
        _refuse_adapters(network)
        _refuse_meta(network)
        return network, _name_of(network)
    from tombola.models.network import load_backbone

    name = path_text(model, "the name of a network, its folder, or the network")
    return load_backbone(name), lasting_name(name)


def _refuse_adapters(network: nn.Module) -> None:
    """Refuse a network whose weights are under other names, next to those of adapters."""
    if (place := adapter_in(network)) is not None:
        raise ModelError(
            f"expected a pre-trained network, got {type(network).__name__} with an adapter of PEFT "
            f"at {place}. Make the ticket before get_peft_model(); it holds the network with "
            "adapters, too."
        )


def _name_of(network: nn.Module) -> str:
    """Where a network was loaded from: an embedded name, a folder or a hub id.

    Raises: ModelError, if it doesn't say, so that a ticket could not name it.
    """
    place = getattr(getattr(network, "config", None), "name_or_path", "")
    if not place:
        raise ModelError(
            f"expected a network that from_pretrained() loaded, got {type(network).__name__} that "
            "doesn't say from where. Save it with save_pretrained(), and give the folder."
        )
    embedded = {str(folder): name for name, folder in EMBEDDED.items()}
    return embedded.get(place) or lasting_name(place)
