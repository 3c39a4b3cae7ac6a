"""CITATION.cff is valid, and says what the package and the cards of tickets say."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import tombola
from tombola.ship.card import CITATION

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "tests" / "fixtures" / "cff" / "schema-1.2.0.json"


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    read = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def test_the_citation_has_the_format_s_own_schema(citation: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.validate(citation, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**citation, "authors": []}, schema)


def test_the_citation_is_of_this_version_under_its_licence(citation: dict[str, Any]) -> None:
    assert citation["version"] == tombola.__version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_paper_is_the_one_that_the_cards_cite(citation: dict[str, Any]) -> None:
    [paper] = citation["references"]
    bibtex = " ".join(re.sub(r"[{}]", "", CITATION).split())
    assert paper["title"] in bibtex
    authors = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    assert authors in bibtex
    assert f"year = {paper['year']}" in bibtex
    assert f"volume = {paper['volume']}" in bibtex
