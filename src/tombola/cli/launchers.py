"""Refuse to train inside a launcher: tombola starts the processes of a training itself."""

from collections.abc import Mapping

from tombola.base.errors import SpecError

__all__ = ["refuse_launchers"]

SHARDING = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
"""How accelerate's variables call what splits a network -> what it is called."""


def refuse_launchers(environment: Mapping[str, str]) -> None:
    """Refuse to train where a launcher has asked for anything but one process of ours."""
    for name, what in SHARDING.items():
        asked = environment.get(f"ACCELERATE_USE_{name}", "")
        if asked.lower() in ("true", "1"):
            raise SpecError(
                f"tombola trains whole networks, with plain data parallelism, got {what} "
                f"(ACCELERATE_USE_{name}={asked}). Unset that, or leave out `accelerate launch`."
            )
    if (ranks := environment.get("WORLD_SIZE", "1")) != "1":
        raise SpecError(
            f"tombola starts the processes of a training itself, got one of {ranks} that torchrun "
            f"or accelerate has started. Start it alone, with --processes {ranks}."
        )
