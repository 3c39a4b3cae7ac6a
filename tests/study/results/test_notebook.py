"""What a notebook shows of a result: short, complete, and never markup from a name."""

from typing import Any

from tombola.study.results.notebook import result_html, result_line

ENTRY = {"values": [80.0, 82.0], "mean": 81.0, "std": 1.4142, "keys": []}
PRUNED = {**ENTRY, "mean": 80.5}
FOUND: dict[str, Any] = {
    "task": "sentiment",
    "model": "<b>mini",
    "metric": "accuracy",
    "split": "test",
    "dense": ENTRY,
    "rounds": [{**PRUNED, "sparsity": "0.25"}, {**PRUNED, "sparsity": "0.5"}],
    "controls": {"one-shot": {**PRUNED, "mean": None, "std": None}},
    "verdict": {"sentence": "matching at 50 %: so & so."},
    "notes": ["the network has <learned>"],
    "output": "runs/x",
}


def test_a_line_says_what_was_found_and_where() -> None:
    assert result_line("SearchResult", FOUND) == (
        "<SearchResult: sentiment on <b>mini, 2 seeds; matching at 50 %: so & so. Folder: runs/x>"
    )


def test_a_search_is_a_table_of_its_networks() -> None:
    shown = result_html(FOUND)
    assert shown.startswith("<table><caption>sentiment, &lt;b&gt;mini: accuracy on test</caption>")
    assert "<tr><th>dense</th><td>0 %</td><td>81.00 ± 1.41</td><td></td></tr>" in shown
    assert "<tr><th>ticket</th><td>25 %</td><td>80.50 ± 1.41</td><td>-0.50</td></tr>" in shown
    assert "<tr><th>one-shot</th><td>50 %</td><td>diverged</td><td></td></tr>" in shown
    assert shown.endswith(
        "<p><b>matching at 50 %: so &amp; so.</b></p><p>the network has &lt;learned&gt;</p>"
    )


def test_an_evaluation_has_one_ticket() -> None:
    shared = {name: value for name, value in FOUND.items() if name not in ("rounds", "controls")}
    shown = result_html({**shared, "sparsity": "0.7", "scores": PRUNED})
    assert shown.count("<tr>") == 3
    assert "<tr><th>ticket</th><td>70 %</td><td>80.50 ± 1.41</td><td>-0.50</td></tr>" in shown
