"""Style, scripts and data of a page, and the policy that lets it run these scripts alone."""

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import vl_convert

from tombola.base.json_text import finite
from tombola.base.text import lines, printable

__all__ = ["data_block", "packed", "policy", "scripts", "style"]

WEB = files("tombola.report") / "web"


def style() -> str:
    """The style sheet of every page."""
    return _read("report.css")


def scripts(*, explored: bool) -> list[str]:
    """The scripts of a page, in their order.

    Args:
        explored: whether it has charts that a reader chooses; Vega is half a megabyte.
    """
    runs = _read("runs.js")
    return [vega(), runs, _read("explorer.js")] if explored else [runs]


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, as vl-convert has them; it fetches nothing."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return lines(bundle)  # a tab in a string becomes an escape


def policy(code: Sequence[str]) -> str:
    """A content security policy: nothing is fetched, and no script runs but those given."""
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'"]
    rules += ["form-action 'none'"]
    if code:
        digests = (b64encode(sha256(one.encode()).digest()).decode() for one in code)
        rules.append(" ".join(["script-src", *(f"'sha256-{digest}'" for digest in digests)]))
    return "; ".join(rules)


def data_block(content: Any) -> str:
    """JSON that can stand in a script element: no text in it can end that, or is invisible."""
    text = json.dumps(_shown(finite(content)), separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def packed(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table in little space: repeated texts are listed once, and rows have their places.

    Args:
        columns: the names of the columns.
        rows: values, in the order of the columns.
    """
    texts: dict[str, list[str]] = {}
    values = list(map(list, zip(*rows, strict=True)))
    for place, name in enumerate(columns if rows else ()):
        if all(isinstance(value, str) for value in values[place]):
            distinct = {text: number for number, text in enumerate(dict.fromkeys(values[place]))}
            if 2 * len(distinct) <= len(rows):
                texts[name] = list(distinct)
                values[place] = [distinct[text] for text in values[place]]
    return {"columns": columns, "texts": texts, "rows": list(zip(*values, strict=True))}


def _shown(value: Any) -> Any:
    """Content with the invisible characters in its texts shown as escapes."""
    if isinstance(value, dict):
        return {printable(name): _shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return lines(value) if isinstance(value, str) else value


@cache
def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
