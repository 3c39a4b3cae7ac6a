"""How many attention heads a network has, from its configuration on this machine."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from transformers import AutoConfig, PretrainedConfig

from tombola.base.errors import TombolaError
from tombola.models.checks.claims import check_claims
from tombola.models.embedded import model_path

__all__ = ["attention_heads", "on_this_machine"]


def on_this_machine(model: str) -> str | None:
    """Where a model's files are, if they are on this machine; nothing is downloaded.

    Args:
        model: an embedded name, a folder that save_pretrained() wrote, or a hub id in the cache.
    """
    try:
        place = model_path(model)
        known = Path(place).is_dir()
        return model if known else snapshot_download(model, local_files_only=True)
    except (TombolaError, HfHubHTTPError, OSError, ValueError):
        return None


def attention_heads(model: str) -> int | None:
    """Attention heads of one block; None if it isn't here or doesn't say.

    Args:
        model: an embedded name, a folder that save_pretrained() wrote, or a hub id in the cache.
    """
    try:
        place = model_path(model)
        check_claims(PretrainedConfig.get_config_dict(place, local_files_only=True)[0], model)
        config = AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except (TombolaError, OSError, ValueError):
        return None
    heads = getattr(config, "num_attention_heads", None)
    return heads if isinstance(heads, int) else None
