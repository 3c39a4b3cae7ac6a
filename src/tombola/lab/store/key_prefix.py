"""Results named by the first digits of their keys."""

from collections.abc import Iterable

from tombola.base.errors import SpecError
from tombola.lab.store.result_store import Store

__all__ = ["key_with_prefix"]


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
        store: for the command that lists the keys, in the error.
        prefix: the digits.
        keys: those that may be meant.
        expected: what may be named, for the error.
        kind: the kind of job that the keys are of, if they are all of one.

    Raises: SpecError, if the prefix is empty, or fits no key or several.
    """
    found = [key for key in keys if prefix and key.startswith(prefix)]
    if len(found) != 1:
        listing = store.command("list", *(("--kind", kind) if kind else ()))
        raise SpecError(
            f"expected {expected}, got {prefix!r}, which fits {len(found)} keys. "
            f"`{listing}` shows the keys."
        )
    return found[0]
