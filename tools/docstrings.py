"""Sections of a docstring that begin in the line of their name, as paragraphs of the reference."""

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(Raises|Returns|Yields|Source): *(\S.*(?:\n[ \t]+\S.*)*)", re.M)
"""A section in one line, with further lines indented; mkdocstrings reads those of Google's only."""


class ShortSections(griffe.Extension):
    """Makes a paragraph of each short section."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = SECTION.sub(_paragraph, obj.docstring.value)


def _paragraph(section: re.Match[str]) -> str:
    name, text = section.groups()
    return f"\n**{name}**: {' '.join(text.split())}\n"
