"""Look-up of keys and digests by their first digits."""

from collections.abc import Iterable

from tombola.base.errors import SpecError
from tombola.lab.store.result_store import Store

__all__ = ["key_with_prefix", "with_prefix"]


def with_prefix(prefix: str, keys: Iterable[str]) -> list[str]:
    """The keys that begin with some digits; none if there are no digits."""
    return [key for key in keys if prefix and key.startswith(prefix)]


def key_with_prefix(
    store: Store,
    prefix: str,
    keys: Iterable[str],
    *,
    expected: str = "the first digits of one key",
    kind: str = "",
) -> str:
    """The one key that begins with some digits.

    Args:
        store: the store, for the command in the error that lists the keys.
        prefix: the digits.
        keys: those to choose from.
        expected: what the prefix should be, for the error.
        kind: the kind of job that all the keys belong to, if there is one.

    Raises: SpecError, if the prefix is empty, or fits no key or several.
    """
    found = with_prefix(prefix, keys)
    if len(found) != 1:
        listing = store.command("list", *(("--kind", kind) if kind else ()))
        raise SpecError(
            f"expected {expected}, got {prefix!r}, which fits {len(found)} keys. "
            f"`{listing}` shows the keys."
        )
    return found[0]
