"""The card says what a ticket is, and obeys nothing that a ticket says."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tombola
from small_network import drawn_ticket, revived
from tombola.ship.card import card, inert, is_generated
from tombola.ticket.ticket import Ticket

BARE = drawn_ticket()
FOUND: dict[str, Any] = {
    "metric": "accuracy",
    "dense": 86.7,
    "ticket": 86.9,
    "split": "test",
    "data": "hub:nyu-mll/glue/sst2@abc",
}


def found(**changes: Any) -> Ticket:
    """A ticket as a search leaves it."""
    facts: dict[str, Any] = {
        "model": "google-bert/bert-base-uncased",
        "task": "glue/sst2",
        "seed": 3,
        "scores": "magnitude",
        "schedule": "linear",
        "provenance": FOUND,
    }
    return replace(BARE, **{**facts, **changes})


def metadata(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    read = yaml.safe_load(head)
    assert isinstance(read, dict)
    return read


def test_the_metadata_are_what_the_hub_reads() -> None:
    assert metadata(card(found())) == {
        "library_name": "tombola",
        "license": "unknown",
        "base_model": "google-bert/bert-base-uncased",
        "datasets": ["nyu-mll/glue"],
        "tags": ["lottery-ticket", "pruning", "sparsity", "task:glue/sst2"],
    }


def test_the_card_is_the_same_for_the_same_ticket() -> None:
    assert card(found(), "ada/x") == card(found(), "ada/x")
    assert is_generated(card(found(), "ada/x").encode(), found())
    assert is_generated(card(found()).encode(), found())
    assert not is_generated(card(found()).encode() + b"more", found())
    assert not is_generated(card(found()).encode(), found(seed=4))
    assert not is_generated(b"\xff", found())


def test_scores_have_their_interval_where_there_is_one() -> None:
    assert "| ticket minus dense | +0.20 |" in card(found())
    with_interval = found(provenance={**FOUND, "interval": [-0.5, 0.9]})
    assert "| ticket minus dense | +0.20 (interval -0.50 to +0.90) |" in card(with_interval)
    assert "Metric `accuracy`, split `test`, one seed, in points." in card(found())


def test_the_mean_of_several_seeds_has_the_interval() -> None:
    several = {"difference": -0.31, "interval": [-1.2, 0.58], "level": 0.9, "seeds": 3}
    text = card(found(provenance={**FOUND, **several}))
    assert "| ticket minus dense | +0.20 |" in text
    assert "| the same, mean of 3 seeds | -0.31 (90 % interval -1.20 to +0.58) |" in text


@pytest.mark.parametrize(
    "odd",
    [
        *({"seeds": "<b>"}, {"seeds": True}, {"seeds": -3}, {"seeds": 10**400}),
        *({"difference": "x"}, {"difference": float("nan")}, {"interval": [0.0]}),
    ],
)
def test_odd_numbers_of_several_seeds_are_not_shown(odd: dict[str, Any]) -> None:
    several = {"difference": -0.31, "interval": [-1.2, 0.58], "level": 0.9, "seeds": 3}
    assert "mean of" not in card(found(provenance={**FOUND, **several, **odd}))


def test_a_merged_ticket_names_its_sources_as_inert_text() -> None:
    sources = [found(seed=3), found(seed=4, task="<b>|`x`")]
    merged = tombola.merge(sources, rule="intersection")
    text = card(merged, "ada/x")
    assert "## Merged from\n\nThe rule `intersection` over the weights that these" in text
    digest, sparsity = BARE.mask.digest(), f"{BARE.sparsity:f}"
    assert f"| `{digest}` | `{sparsity}` | `glue/sst2` | `3` | `magnitude` |" in text
    assert "| `\\x3cb\\x3e\\x7c\\x60x\\x60` | `4` |" in text
    assert is_generated(text.encode(), merged)
    assert "## Merged from" not in card(found())


def test_the_lines_that_use_the_ticket_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ticket = tombola.one_shot("mini", sparsity=0.5)
    ticket.save("path/to/this/folder")
    (code,) = re.findall(r"^```python\n(.*?)^```", card(ticket), re.S | re.M)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    assert revived(names["model"], names["ticket"]) == 0
    assert names["ticket"] == ticket


@pytest.mark.parametrize("odd", [None, True, "1", [1], {}, 10**400, float("inf")])
def test_odd_provenance_shows_no_scores(odd: Any) -> None:
    assert "## Scores" not in card(found(provenance={**FOUND, "dense": odd}))
    assert "(interval" not in card(found(provenance={**FOUND, "interval": [odd, 1.0]}))
    assert "(interval" not in card(found(provenance={**FOUND, "interval": odd}))


def test_a_network_in_a_folder_is_named_without_the_way_there() -> None:
    text = card(found(model="/home/ada/secret/bert"))
    assert "ada" not in text
    assert "`bert`" in text
    assert "base_model" not in metadata(text)


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- ",
    "&lt;b&gt; &#60;",
    "a`b``c```d",
    "```\n# heading\n```",
    "x | y\n| z |",
    "](javascript:alert(1)) [x](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "**bold** _it_ ~~s~~ # h",
    "\x1b[31mred\x1b]8;;http://evil.example\x07x\x1b]8;;\x07",
    "\r\x08\x00\x7f\x9b",
    "\u202e\u2066\u200b\ufeff",
    "---\nlicense: mit\n---\n",
    'x"\nlicense: mit\ny: "',
    "{{7*7}} {% include x %} $x$ \\( x \\)",
    "www.evil.example ada@evil.example @ada #1",
    "\ud800",
    "!!python/object/apply:os.system [id]",
    "x" * 100_000,
    "",
    " \t ",
]
FIELDS = ("model", "scope", "task", "scores", "schedule", "created_by")
KEPT = ("metric", "split", "finder", "rounds", "imported", "data")


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("name", [*FIELDS, *KEPT])
def test_no_name_is_markup_or_an_escape_sequence(attack: str, name: str) -> None:
    changes: dict[str, Any] = (
        {name: attack} if name in FIELDS else {"provenance": {**FOUND, name: attack}}
    )
    text = card(found(**changes))
    plain = card(found(**{**changes, **({name: "x"} if name in FIELDS else {})}))
    assert all(each.isprintable() or each == "\n" for each in text)
    assert not {"<", "&"} & set(text)
    assert text.count("\n## ") == card(found()).count("\n## ")
    assert text.count("```") == 4
    assert abs(len(text.splitlines()) - len(plain.splitlines())) <= 3
    assert len(text) < 10_000
    assert metadata(text)["license"] == "unknown"
    assert set(metadata(text)) <= {"library_name", "license", "base_model", "datasets", "tags"}
    for line in text.splitlines():
        if line.startswith("| ") and name in line:
            assert line.count("|") == 3
        if "`" in line and not line.startswith("```"):
            assert line.count("`") % 2 == 0
            outside = "".join(line.split("`")[::2])
            assert "evil" not in outside


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_an_inert_value_is_one_code_span_of_one_line(attack: str) -> None:
    text = inert(attack)
    assert text.isprintable()
    assert text == "(empty)" or (text[0] == text[-1] == "`" and text.count("`") == 2)
    assert not set("<>&|") & set(text)
    assert len(text) < 1000
