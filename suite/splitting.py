"""Splits fixed by hashes, and groups of texts that are nearly the same."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

NEAR = 0.8
"""Cosine of the TF-IDF vectors (words and word pairs) from which two texts are near duplicates."""

T = TypeVar("T")


def order(*parts: object) -> int:
    """A fixed pseudo-random number for a thing, the same on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def shuffled(things: Iterable[T], *salt: object, key: Callable[[T], object] = str) -> list[T]:
    """The things in an order fixed by the hash of each."""
    return sorted(things, key=lambda thing: order(*salt, key(thing)))


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """Group number of each text: connected components of the near-duplicate relation."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    matrix = vectors.fit_transform(texts).tocsr()
    transposed = matrix.T.tocsr()
    rows, columns = [], []
    for start in range(0, matrix.shape[0], 2000):
        block = (matrix[start : start + 2000] @ transposed).tocoo()
        close = block.data >= NEAR
        rows.append(block.row[close] + start)
        columns.append(block.col[close])
    row, column = np.concatenate(rows), np.concatenate(columns)
    size = (len(texts), len(texts))
    graph = coo_matrix((np.ones(len(row), dtype=bool), (row, column)), shape=size)
    groups: list[int] = connected_components(graph, directed=False)[1].tolist()
    return groups


def joined(groups: Sequence[int], owners: Sequence[int], count: int) -> list[int]:
    """Group number of each owner, where owners with texts in one group share a group."""
    nodes = np.array(owners), np.array(groups) + count
    size = count + max(groups) + 1
    graph = coo_matrix((np.ones(len(owners), dtype=bool), nodes), shape=(size, size))
    labels: list[int] = connected_components(graph, directed=False)[1][:count].tolist()
    return labels


def by_share(name: object, *, dev: float, test: float) -> str:
    """A split drawn for that name."""
    share = order("split", name) / 2**64
    return "test" if share < test else "dev" if share < test + dev else "train"
