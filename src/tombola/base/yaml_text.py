"""YAML from users, read safely: small, shallow, only plain data, and each key once."""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from tombola.base.fields import SOME_DIGIT
from tombola.base.files import read_plain_text

__all__ = ["NotYamlError", "compose", "construct", "read_yaml_text"]

BYTES_LIMIT = 1 << 18
"""The most bytes of a file."""
WEIGHT_LIMIT = 1 << 20
"""The most characters and nodes of a document with every alias expanded."""
DEPTH_LIMIT = 32
"""The most lists and mappings inside one another."""
BITS_LIMIT = 63
"""The most bits of a whole number."""

PREFIX = "tag:yaml.org,2002:"
TAGS = {
    f"{PREFIX}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
}
NUMBERS = {f"{PREFIX}int", f"{PREFIX}float"}
NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?"
)
"""Numbers that every reader understands alike; YAML has others, such as 010 for eight."""
TEXT = f"{PREFIX}str"


class NotYamlError(ValueError):
    """A text is not valid YAML, or uses more of YAML than is accepted here."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line
        """Counted from 1, where it is known."""


def read_yaml_text(path: str | Path) -> str:
    """The text of a YAML file.

    Raises: OSError, if it is missing, not a plain file or too large; UnicodeDecodeError, which is a
        ValueError.
    """
    return read_plain_text(path, BYTES_LIMIT)


def compose(text: str) -> Node | None:
    """The one document of a text as nodes; None if it is empty.

    Raises: NotYamlError, with its line if that is known.
    """
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    except RecursionError:
        raise NotYamlError("it is nested too deeply") from None


def construct(node: Node | None) -> Any:
    """The content of nodes as plain data: text, numbers, truth values, None, lists and dicts.

    Raises: NotYamlError, with its line if that is known.
    """
    if node is None:
        return None
    try:
        return _Loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        raise NotYamlError("a value does not match its type", _line(node)) from None


def _not_yaml(error: yaml.YAMLError) -> NotYamlError:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]
    return NotYamlError(reason, None if mark is None else mark.line + 1)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Loader(yaml.SafeLoader):
    """A safe loader with limits. Dates and times of day are text; unknown tags are refused."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._weight = 0
        self._anchored: dict[str, int] = {}
        """Anchor -> weight of what it names, once that is complete."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self._anchored:
                raise self._refusal(f"{event.anchor!r} is part of itself", event.start_mark)
            self._add(self._anchored.get(str(event.anchor), 0), event.start_mark)
            return super().compose_node(parent, index)
        if self._depth >= DEPTH_LIMIT:
            raise self._refusal(f"it is nested deeper than {DEPTH_LIMIT}", event.start_mark)
        self._depth, before = self._depth + 1, self._weight
        node = super().compose_node(parent, index)
        assert node is not None
        self._depth -= 1
        if node.tag not in TAGS:
            raise self._refusal(f"{node.tag[:80]!r} is not a tag of plain data", node.start_mark)
        self._add(1 + (len(node.value) if isinstance(node, ScalarNode) else 0), node.start_mark)
        if event.anchor:
            self._anchored[event.anchor] = self._weight - before
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if key.value in seen:
                    raise self._refusal(f"{key.value[:80]!r} appears twice", key.start_mark)
                seen.add(key.value)
        return node

    def _add(self, weight: int, mark: Any) -> None:
        self._weight += weight
        if self._weight > WEIGHT_LIMIT:
            reason = f"with its aliases expanded it has more than {WEIGHT_LIMIT:,} characters"
            raise self._refusal(reason, mark)

    def _refusal(self, reason: str, mark: Any) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=reason, problem_mark=mark)

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not ScalarNode or not implicit[0]:
            return tag
        if NUMBER.fullmatch(value):
            return f"{PREFIX}{'int' if value.lstrip('+-').isdecimal() else 'float'}"
        plain = tag in TAGS and (
            tag not in NUMBERS or value.lstrip("+-").lower() in (".inf", ".nan")
        )
        return tag if plain else TEXT  # 2026-01-31, 12:30, 0x10, 010 and 1_000

    def construct_yaml_int(self, node: ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        if value.bit_length() > BITS_LIMIT:
            raise self._refusal(f"a number of more than {BITS_LIMIT} bits", node.start_mark)
        return value

    def construct_yaml_float(self, node: ScalarNode) -> float:
        value: float = super().construct_yaml_float(node)
        if value == 0 and SOME_DIGIT.match(node.value):
            raise self._refusal("a number that is too small", node.start_mark)
        return value


_Loader.add_constructor(f"{PREFIX}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{PREFIX}float", _Loader.construct_yaml_float)
