"""YAML -> typed fields; every error names its file, its line and the nearest name."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tombola.base.errors import SpecError, cut
from tombola.base.fields import CALLED, number
from tombola.base.keys import exact_fraction
from tombola.base.registry import unknown
from tombola.base.specs import PruneSpec
from tombola.base.yaml_text import NotYamlError
from tombola.base.yaml_text import compose as compose_yaml
from tombola.lab.planfile.arm import ArmName, Sparsities, TaskName, TicketFrom

__all__ = ["IN_A_FILE", "Fields", "compose"]

T = TypeVar("T")

SCALARS: Mapping[Any, tuple[str, Callable[[str], Any]]] = {
    int: (CALLED[int], lambda text: number(text, int)),
    float: (CALLED[float], lambda text: number(text, float)),
    bool: (CALLED[bool], {"true": True, "false": False}.__getitem__),
    Decimal: ("a fraction in [0, 1)", exact_fraction),
    Path: ("a folder", Path),
}
"""Type -> what it is called, and how it is read."""

IN_A_FILE = {"from_ticket": "from"}
"""Field -> its name in a file, where that is a keyword of Python."""


def compose(text: str, where: str) -> MappingNode:
    """The document of a YAML file.

    Raises: SpecError, if it is not valid YAML or has no fields.
    """
    try:
        root = compose_yaml(text)
    except NotYamlError as error:
        line = f":{error.line}" if error.line else ""
        raise SpecError(f"{where}{line}: expected YAML: {error}. Fix the file.") from None
    if not isinstance(root, MappingNode):
        raise SpecError(f"{where}: expected `field: value` lines, got {_written(root)}.")
    return root


class Fields:
    """Reads the parts of a document.

    Args:
        where: name of the file.
        folder: what paths in it are relative to.
        names: type of a name -> what it names, and the names that exist.
    """

    def __init__(
        self, where: str, folder: Path, names: Mapping[Any, tuple[str, list[str]]]
    ) -> None:
        self.where, self.folder, self.names = where, folder, dict(names)

    @contextmanager
    def at(self, line: int) -> Iterator[None]:
        """Put file and line before the message of a SpecError."""
        try:
            yield
        except SpecError as error:
            raise SpecError(f"{self.where}:{line}: {error}") from None

    def place(self, path: str | Path) -> Path:
        """Where a path leads that stands in the file."""
        return self.folder / Path(path).expanduser()

    def line(self, node: Node) -> int:
        """Where a node begins."""
        return int(node.start_mark.line) + 1

    def entries(self, node: Node, what: str) -> dict[str, tuple[Node, Node]]:
        """Name -> the nodes of a name and of what it is given."""
        if not isinstance(node, MappingNode):
            raise self._wrong(node, what, "`field: value` lines")
        found: dict[str, tuple[Node, Node]] = {}
        for name, value in node.value:
            with self.at(self.line(name)):
                if not isinstance(name, ScalarNode):
                    raise SpecError(f"expected a name, got {_written(name)}. Write `name: value`.")
            found[name.value] = name, value
        return found

    def build(
        self,
        kind: type[T],
        node: Node,
        what: str,
        *,
        leave_out: set[str],
        everywhere: Mapping[str, Any],
    ) -> T:
        """A dataclass from the fields under a name; those of a PruneSpec in it stand among them.

        Args:
            kind: the dataclass.
            node: the node with the fields.
            what: they describe, for errors.
            leave_out: fields that are read elsewhere.
            everywhere: name -> value of a field that is not given, if there is such a field.
        """
        entries = self.entries(node, what)
        for name in leave_out:
            entries.pop(name, None)
        inner: dict[str, Any] = {}
        outer = _by_name(kind)
        spread = next((name for name, field in outer.items() if _is_spec(field.type)), None)
        if spread:
            spec = cast(type[PruneSpec], outer.pop(spread).type)
            inner = {f.name: f for f in dataclasses.fields(spec) if f.name not in outer}
        here = {name: value for name, value in everywhere.items() if name in outer}
        given = here | self.read(entries, outer | inner, what)
        with self.at(self.line(node)):
            for name, field in outer.items():
                if name not in given and field.default is dataclasses.MISSING:
                    raise SpecError(f"{what} needs `{name}`, got none. Add it.")
            if spread:
                given[spread] = spec(**{name: given.pop(name) for name in inner.keys() & given})
            names = {name: field.name for name, field in outer.items()}
            return kind(**{names.get(name, name): value for name, value in given.items()})

    def read(
        self, entries: Mapping[str, tuple[Node, Node]], known: Mapping[str, Any], what: str
    ) -> dict[str, Any]:
        """Name -> value, by the types of the fields of those names."""
        given = {}
        for name, (key, node) in entries.items():
            with self.at(self.line(key)):
                if name not in known:
                    raise unknown(f"field of {what}", name, known)
            given[name] = self.value(node, known[name], name)
        return given

    def value(self, node: Node, field: "dataclasses.Field[Any]", name: str) -> Any:
        """What a field is given."""
        if field.type is Sparsities:
            return self._sparsities(node, field.default, name)
        if field.type is TicketFrom:
            return self._ticket_from(node, name)
        if get_origin(field.type) is tuple:
            return self.several(node, get_args(field.type)[0], name)
        return self.one(node, field.type, name)

    def one(self, node: Node, kind: Any, name: str) -> Any:
        """A number, a name, or true or false."""
        called, read = SCALARS.get(kind, ("a name", str))
        if not isinstance(node, ScalarNode) or not node.value:
            raise self._wrong(node, name, called)
        if kind not in SCALARS and node.tag != "tag:yaml.org,2002:str":
            raise self._wrong(node, name, called, " Put it into quotes.")
        with self.at(self.line(node)):
            if kind is Decimal:
                return exact_fraction(node.value, name)
            if kind in self.names:
                thing, there = self.names[kind]
                if node.value not in there:
                    raise unknown(thing, node.value, there)
        try:
            return read(node.value)
        except (ValueError, KeyError):
            raise self._wrong(node, name, called) from None

    def several(self, node: Node, kind: Any, name: str) -> tuple[Any, ...]:
        """A list, none of them twice."""
        if not isinstance(node, SequenceNode):
            hint = f" Write [{node.value}]." if isinstance(node, ScalarNode) and node.value else ""
            raise self._wrong(node, name, "a list", hint)
        found: list[Any] = []
        for each in node.value:
            value = self.one(each, kind, name)
            if value in found:
                with self.at(self.line(each)):
                    raise SpecError(
                        f"{name} must have different entries, got {value} twice. Keep one."
                    )
            found.append(value)
        if not found:
            raise self._wrong(node, name, "a list that is not empty")
        return tuple(found)

    def _sparsities(self, node: Node, default: Any, name: str) -> Sparsities:
        """One sparsity, a list of them, or either for each task; other tasks have the default."""
        if not isinstance(node, MappingNode):
            return Sparsities(self._fractions(node, name))
        by_task = {}
        for key, value in node.value:
            by_task[self.one(key, TaskName, name)] = self._fractions(value, name)
        return Sparsities(default.every, by_task)

    def _ticket_from(self, node: Node, name: str) -> TicketFrom:
        """The ticket of another arm, or the one in a folder."""
        if isinstance(node, MappingNode):
            known = {n: field for n, field in _by_name(TicketFrom).items() if n != "folder"}
            given = self.read(self.entries(node, name), known, name)
            with self.at(self.line(node)):
                if "arm" not in given:
                    raise SpecError(
                        f"{name} needs `arm`, or must be a folder, got neither. Add one."
                    )
                return TicketFrom(**given)
        place = self.place(self.one(node, Path, name))
        with self.at(self.line(node)):
            if node.value in self.names[ArmName][1] and not place.exists():
                raise SpecError(
                    f"{name} must be a folder, or fields that name an arm, got {node.value!r}, "
                    f"which is an arm. Write {{arm: {node.value}}}."
                )
        return TicketFrom(folder=str(place))

    def _fractions(self, node: Node, name: str) -> tuple[Decimal, ...]:
        if isinstance(node, SequenceNode):
            return self.several(node, Decimal, name)
        return (self.one(node, Decimal, name),)

    def _wrong(self, node: Node, name: str, expected: str, hint: str = "") -> SpecError:
        got = _written(node)
        return SpecError(
            f"{self.where}:{self.line(node)}: {name} must be {expected}, got {got}.{hint}"
        )


def _by_name(kind: Any) -> dict[str, "dataclasses.Field[Any]"]:
    """The fields of a dataclass by their names in a file."""
    return {IN_A_FILE.get(field.name, field.name): field for field in dataclasses.fields(kind)}


def _is_spec(kind: Any) -> bool:
    """Whether it is the type of a finder's knobs."""
    return isinstance(kind, type) and issubclass(kind, PruneSpec)


def _written(node: Node | None) -> str:
    if isinstance(node, ScalarNode):
        return cut(node.value) if node.value else "nothing"
    return "nothing" if node is None else "a list" if isinstance(node, SequenceNode) else "fields"
