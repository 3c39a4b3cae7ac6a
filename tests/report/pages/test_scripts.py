"""The scripts of a report: strict, and without a name that nothing uses."""

import re
from pathlib import Path

import pytest

from tombola.report.pages import assets

SCRIPTS = sorted(Path(str(assets.WEB)).glob("*.js"))
NAME = r"[A-Za-z_$][\w$]*"


def declared(code: str) -> list[str]:
    """Every name that a script declares, also in patterns such as `{ data, table }`."""
    plain = re.findall(rf"\b(?:const|let|var|function|class)\s+({NAME})", code)
    patterns = re.findall(r"\b(?:const|let)\s+[{\[]([^=]*)[}\]]\s*(?:=|of)", code)
    return plain + [name for each in patterns for name in re.findall(NAME, each)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_strict_and_uses_every_name_that_it_declares(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.startswith('"use strict";')
    code = re.sub(r"^\s*//.*$", "", text, flags=re.M)
    everywhere = "".join(each.read_text(encoding="utf-8") for each in SCRIPTS)
    names = declared(code)
    assert len(names) > 20
    unused = []
    for name in names:
        shared = re.search(rf"^const {name}\b", code, re.M)
        uses = re.findall(rf"(?<![\w$]){re.escape(name)}(?![\w$])", everywhere if shared else code)
        unused += [name] * (len(uses) < 2)
    assert unused == []
