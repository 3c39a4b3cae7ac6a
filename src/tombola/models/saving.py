"""A trained network as a folder that `from_pretrained` of transformers reads."""

from collections.abc import Sequence
from pathlib import Path

from tombola.base.files import disk_error
from tombola.models.network import Network
from tombola.models.quiet import quiet

__all__ = ["save_network"]


def save_network(network: Network, folder: Path, *, labels: Sequence[str] = ()) -> None:
    """Write weights, configuration and tokenizer, as `save_pretrained` does.

    Args:
        network: as it stands; its configuration gets the labels.
        folder: for the files; exists.
        labels: names of the classes in the order of their numbers, if the head has classes.

    Raises: OSError, if the disk refuses.
    """
    config, tokenizer = network.model.config, network.tokenizer
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    # or a tokenizer gives token types to a network that has none
    tokenizer.init_kwargs["model_input_names"] = list(tokenizer.model_input_names)
    for how_loaded in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(how_loaded, None)
    try:
        with quiet():
            network.model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except Exception as error:
        if (refused := disk_error(error)) is not None:
            raise refused from None
        raise
