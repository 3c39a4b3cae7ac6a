"""The network of a task: an encoder with the head that its kind asks for."""

from tombola.base.errors import ModelError
from tombola.models.loading import load_configuration
from tombola.models.network import Network, load_with_head
from tombola.tasks.kinds.kind import TASK_KINDS

__all__ = ["load_network"]


def load_network(model: str, kind: str, classes: int = 2, *, head: str = "fresh") -> Network:
    """Load an encoder with the head of a kind of task, as float32 on the CPU.

    Args:
        model: an embedded name, a folder that `save_pretrained` wrote, or a hub id.
        kind: the kind of task.
        classes: number of classes; only classification has more than one output.
        head: fresh, to draw it from each seed; or checkpoint, to start from that of the files.
            Masked language modelling starts from that of the files either way.

    Raises: ModelError, if there is no such model, or it can't carry such a head.
    """
    _check_architecture(model, kind)
    network = load_with_head(model, TASK_KINDS[kind].head(classes), start=head)
    TASK_KINDS[kind].check_network(network)
    return network


def _check_architecture(model: str, kind: str) -> None:
    """Refuse a kind of task for which the architecture has no head.

    Raises: ModelError, naming the kinds for which it has one.
    """
    config = load_configuration(model)
    if type(config) in TASK_KINDS[kind].head(2).fits:
        return
    others = [name for name in TASK_KINDS if type(config) in TASK_KINDS[name].head(2).fits]
    raise ModelError(
        f"a task of the kind {kind!r} needs a head that {config.model_type} doesn't have in "
        f"transformers; {model!r} can do {', '.join(others) or 'none'}. Use another task or "
        "another model."
    )
