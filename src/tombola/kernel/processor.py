"""What Linux says of this machine's processor."""

import platform
from pathlib import Path

__all__ = ["processor_flags", "processor_name"]

CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """What the machine calls its processor."""
    return _first("model name") or platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """The instruction sets of the processor, as Linux calls them; none where it lists none."""
    return frozenset(_first("flags").split())


def _first(field: str) -> str:
    """A field of the first core; empty where Linux doesn't list it."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == field), "")
