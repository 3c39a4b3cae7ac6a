"""The versions of what made a ticket, from metadata alone; imports no package."""

import platform
from importlib import metadata

__all__ = ["package_version", "versions"]

PACKAGES = ("torch", "transformers", "numpy", "safetensors", "tombola")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    found = {name: package_version(name) or "not installed" for name in PACKAGES}
    return {"python": platform.python_version()} | found


def package_version(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
