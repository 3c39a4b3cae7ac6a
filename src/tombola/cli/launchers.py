"""Refuse to train inside a launcher: tombola starts the processes of a training itself."""

from collections.abc import Mapping

from tombola.base.errors import SpecError

__all__ = ["refuse_launchers"]

SHARDING = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
"""Name in accelerate's environment variables -> name of the library that shards networks."""


def refuse_launchers(environment: Mapping[str, str]) -> None:
    """Check that no launcher has asked for sharding or for several processes.

    Raises: SpecError, if one has.
    """
    for name, what in SHARDING.items():
        value = environment.get(f"ACCELERATE_USE_{name}", "")
        if value.lower() in ("true", "1"):
            raise SpecError(
                f"tombola trains whole networks, with plain data parallelism, got {what} "
                f"(ACCELERATE_USE_{name}={value}). Unset it, or start without `accelerate launch`."
            )
    if (ranks := environment.get("WORLD_SIZE", "1")) != "1":
        raise SpecError(
            f"tombola starts the processes of a training itself, got WORLD_SIZE={ranks} from "
            f"torchrun or accelerate. Start it without them, with --processes {ranks}."
        )
