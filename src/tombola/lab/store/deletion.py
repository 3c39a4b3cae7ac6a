"""The deletion of results from a store: which ones, what was made from them, and the act."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tombola.base.errors import OutputError, SpecError
from tombola.lab.store.key_prefix import key_with_prefix, with_prefix
from tombola.lab.store.numerics import environment, numerics_digest
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store

__all__ = ["chosen", "dependants", "forget", "made_with"]


def chosen(store: Store, starts: Sequence[str]) -> list[str]:
    """The keys of the results that a user has named by their first digits.

    Raises: SpecError, if one of the prefixes fits no result or several.
    """
    keys = store.keys()
    return list(dict.fromkeys(key_with_prefix(store, start, keys) for start in starts))


def made_with(store: Store, digest: str) -> list[str]:
    """The keys of the results that were made in one environment.

    Args:
        store: has the results.
        digest: first digits of the environment's digest, or of that of any numerics in it, which
            tables show.

    Raises: SpecError, with the environments of all results, if it fits none or several.
    """
    results = _results(store)
    records = {key: one.numerics for key, one in results.items() if one.numerics}
    digests = {key: numerics_digest(environment(record)) for key, record in records.items()}
    environments = {each: each for each in digests.values()}
    environments |= {numerics_digest(record): digests[key] for key, record in records.items()}
    named = {environments[each] for each in with_prefix(digest, environments)}
    if len(named) != 1:
        raise SpecError(
            f"expected the digest of the numerics of some results, got {digest!r}. There are: "
            f"{_listed(results, digests) or 'none'}."
        )
    return [key for key, each in digests.items() if each in named]


def _listed(results: Mapping[str, Result], digests: Mapping[str, str]) -> str:
    """Each digest, how many results have it, and the fields in which the environments differ."""
    one_of = {digest: environment(results[key].numerics) for key, digest in digests.items()}
    fields = sorted({name for record in one_of.values() for name in record})
    differ = [n for n in fields if len({str(record.get(n)) for record in one_of.values()}) > 1]
    counts = Counter(digests.values())
    return "; ".join(
        f"{digest} ({', '.join([f'{counts[digest]} results', *_said(record, differ)])})"
        for digest, record in one_of.items()
    )


def _said(record: Mapping[str, object], fields: Iterable[str]) -> list[str]:
    return [f"{name} {record.get(name, 'not recorded')}" for name in fields]


def dependants(store: Store, keys: Iterable[str]) -> dict[str, Result]:
    """The results that were made from these, directly or through others."""
    results, gone = _results(store), set(keys)
    found: dict[str, Result] = {}
    while more := {
        key: one
        for key, one in results.items()
        if key not in gone and gone & set(one.parents.values())
    }:
        found |= more
        gone |= more.keys()
    return found


def _results(store: Store) -> dict[str, Result]:
    read = ((key, store.try_read(key)) for key in sorted(store.keys()))
    return {key: one for key, one in read if one is not None}


def forget(store: Store, keys: Sequence[str]) -> None:
    """Delete results with their weights and checkpoints.

    Raises: OutputError, before anything is deleted, if a process works on one of them; or for an
        error of the disk.
    """
    for key in keys:
        if holder := store.holder(key):
            raise OutputError(
                f"expected no process at work on {key[:12]}, got process {holder.get('pid')} on "
                f"{holder.get('host')}. Wait until it has ended, or stop it."
            )
    for key in keys:
        store.remove(key)
        store.drop_weights(key)
        store.drop_partial(key)
