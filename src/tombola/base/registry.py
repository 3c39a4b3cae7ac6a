"""Plug-ins by name, with the nearest name for a mistyped one."""

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import walk_packages
from threading import RLock
from typing import Generic, TypeVar

from tombola.base.errors import SpecError

__all__ = ["Registry", "closest", "unknown"]


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a mistyped one is nearest to; None if none is near."""
    close = get_close_matches(name, sorted(known), n=1)
    return close[0] if close else None


def unknown(kind: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a name that does not exist, with the nearest that does.

    Args:
        kind: what was named, for example "control".
        name: what came.
        known: the names that exist.
    """
    names = sorted(known)
    near = closest(name, names)
    hint = f"Did you mean {near!r}?" if near is not None else f"There are: {', '.join(names)}."
    return SpecError(f"there is no {kind} {name!r}. {hint}")


T = TypeVar("T")


class Registry(Generic[T]):
    """Plug-ins of one kind, each under the name it was registered with.

    Args:
        kind: what they are, for messages.
        package: dotted name of a package whose modules, those of its sub-folders too, register
            plug-ins, or of one such module; all are imported when a plug-in is first asked for, in
            the order of their names.
    """

    def __init__(self, kind: str, *, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._registered: dict[str, T] = {}
        self._importing = RLock()
        self._imported = package is None

    @property
    def _plugins(self) -> dict[str, T]:
        """All plug-ins, those of the package included."""
        if not self._imported:
            with self._importing:
                self._import_all()
        return self._registered

    def _import_all(self) -> None:
        """Import what registers plug-ins; once more, if that was interrupted."""
        if self._package is None:  # asked by what is being imported, or by the thread before
            return
        name, self._package = self._package, None
        try:
            package = import_module(name)
            for module in walk_packages(getattr(package, "__path__", ()), f"{name}."):
                import_module(module.name)
        except BaseException:
            self._package = name
            raise
        self._imported = True

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a plug-in to enter it under `name`."""

        def enter(plugin: T) -> T:
            if name in self._registered:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._registered[name] = plugin
            return plugin

        return enter

    def __getitem__(self, name: str) -> T:
        """The plug-in of that name.

        Raises: SpecError, with the nearest name, if there is none.
        """
        if name not in self._plugins:
            raise unknown(self.kind, name, self._plugins)
        return self._plugins[name]

    def __contains__(self, name: str) -> bool:
        return name in self._plugins

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugins)

    def __len__(self) -> int:
        return len(self._plugins)
