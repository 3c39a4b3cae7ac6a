"""Recorded graphs: what is done while one is recorded isn't done, but each time it is replayed."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["Graph", "Recording"]


class Graph:
    """Operators with the memory that they read and write, as `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, dict[str, Any], list[Tensor]]] = []

    @torch.no_grad()
    def replay(self) -> None:
        """Do all of it again, in the same memory."""
        for func, args, kwargs, fresh in self.calls:
            made = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
            for place, new in zip(fresh, made, strict=True) if fresh else ():
                if place is not new and place.data_ptr() != new.data_ptr():
                    place.copy_(new)


class Recording:
    """A graph while it is recorded."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._before: dict[int, tuple[Any, Any]] = {}
        self._own: set[int] = set()

    def before(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Keep what an operator writes to and the graph hasn't made."""
        for place, given in zip(func._schema.arguments, args, strict=False):
            if place.alias_info is not None and place.alias_info.is_write:
                self._keep(given)
        for place in func._schema.arguments:
            if place.alias_info is not None and place.alias_info.is_write and place.kwarg_only:
                self._keep(kwargs.get(place.name))

    def _keep(self, given: Any) -> None:
        for tensor in tree_leaves(given):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._own | self._before.keys():
                    self._before[storage._cdata] = (storage, storage.clone())

    def after(self, func: Any, args: Any, kwargs: dict[str, Any], made: Any) -> None:
        """Record an operator, and what it has made."""
        known = {
            each.untyped_storage()._cdata
            for each in tree_leaves((args, kwargs))
            if isinstance(each, Tensor)
        }
        results = [each for each in tree_leaves(made) if isinstance(each, Tensor)]
        aliases = any(each.untyped_storage()._cdata in known for each in results)
        self._own |= {each.untyped_storage()._cdata for each in results} - known
        self.graph.calls.append((func, args, kwargs, [] if aliases else results))

    def end(self) -> None:
        """Put back what was written to."""
        for storage, content in self._before.values():
            storage.copy_(content)
