"""How many attention heads a network has, from its configuration on this machine."""

from transformers import AutoConfig

from tombola.errors import TombolaError
from tombola.task.embedded import model_path

__all__ = ["attention_heads"]


def attention_heads(model: str) -> int | None:
    """Attention heads of one block; None if the network isn't here, or doesn't say.

    Args:
        model: an embedded name, a folder that save_pretrained() wrote, or a hub id in the cache.
    """
    try:
        config = AutoConfig.from_pretrained(
            model_path(model), local_files_only=True, trust_remote_code=False
        )
    except (TombolaError, OSError, ValueError):
        return None
    heads = getattr(config, "num_attention_heads", None)
    return heads if isinstance(heads, int) else None
