"""Seeds and test examples are told apart from stored predictions, whatever the metric."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plan_rows import search
from tombola.base.errors import OutputError
from tombola.lab.store.result_store import Store
from tombola.study.table.row import Row
from tombola.study.verdicts import seeds_and_examples
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.matching import matching
from tombola.study.verdicts.seeds_and_examples import components_from
from tombola.tasks.metrics import METRICS

EXAMPLES, SEEDS = 300, (0, 1, 2)
Predictions = dict[str, np.ndarray[Any, Any]]


def stored(
    metric: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    same: Sequence[int] = (),
    contexts: int = 0,
    **more: Any,
) -> tuple[list[Row], Predictions]:
    """Rows whose scores are those of drawn predictions: labels in column 1, hits 90 and 80 %.

    With the seeds in `same` the ticket predicts what dense predicts; examples may have contexts."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, EXAMPLES)
    kept: Predictions = {}
    for seed in SEEDS:
        for name, hits in (("dense", 0.9), ("ticket", 0.8)):
            hit = generator.random(EXAMPLES) < hits
            kept[f"{name} {seed}"] = np.stack([np.where(hit, labels, 1 - labels), labels], axis=1)
    kept |= {f"ticket {seed}": kept[f"dense {seed}"] for seed in same}
    if contexts:
        column = (np.arange(EXAMPLES) % contexts)[:, None]
        kept = {name: np.concatenate([found, column], axis=1) for name, found in kept.items()}
    scores = {key: METRICS[metric](found) for key, found in kept.items()}
    dense = [scores[f"dense {seed}"] for seed in SEEDS]
    changes = [scores[f"ticket {seed}"] - dense[seed] for seed in SEEDS]
    table = search("a", 0.0, wobble=changes, dense=dense, metric=metric, trivial=0.0, **more)
    keys = {row.key: f"ticket {row.seed}" for row in table}
    keys |= {row.dense_key: f"dense {row.seed}" for row in table}

    def read(_: Store, key: str) -> np.ndarray[Any, Any]:
        if keys[key] not in kept:
            raise OutputError("gone")
        return kept[keys[key]]

    monkeypatch.setattr(seeds_and_examples, "read_predictions", read)
    return table, kept


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "binary-f1", "pearson"])
def test_the_mean_is_the_difference_and_the_interval_no_narrower_than_over_seeds(
    metric: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, _ = stored(metric, monkeypatch, resolution=100 / EXAMPLES)
    [judged] = matching(table, components=components_from(Store(tmp_path))).judged
    assert judged.components
    assert judged.verdict
    assert judged.verdict.interval
    parts = judged.components.parts
    assert parts.mean == pytest.approx(judged.verdict.difference)
    assert judged.components.interval[0] <= judged.verdict.interval[0]
    assert judged.components.interval[1] >= judged.verdict.interval[1]
    assert judged.to_json()["seeds_and_examples"]["seed_sd"] == parts.seed_sd
    assert parts.examples == (EXAMPLES if metric == "accuracy" else 50)


@pytest.mark.parametrize("metric", ["matthews", "binary-f1"])
def test_a_seed_whose_ticket_predicts_what_dense_predicts_is_taken_apart_as_the_others_are(
    metric: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, _ = stored(metric, monkeypatch, same=[1])
    [judged] = matching(table, components=components_from(Store(tmp_path))).judged
    assert judged.components
    assert judged.verdict
    assert judged.components.parts.examples == 50
    assert judged.components.parts.mean == pytest.approx(judged.verdict.difference)


def test_questions_about_a_single_text_have_a_verdict_and_no_components(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for contexts in (1, 7):
        table, _ = stored("accuracy", monkeypatch, contexts=contexts)
        [judged] = matching(table, components=components_from(Store(tmp_path))).judged
        assert judged.verdict
        assert (judged.components is None) == (contexts == 1)


def test_the_jackknife_agrees_with_the_gains_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, _ = stored("accuracy", monkeypatch)
    exact = components_from(Store(tmp_path))(Comparison(tuple(table)))
    monkeypatch.setattr(seeds_and_examples, "CREDITS", {})
    grouped = components_from(Store(tmp_path))(Comparison(tuple(table)))
    assert exact
    assert grouped
    assert grouped.parts.mean == pytest.approx(exact.parts.mean)
    errors = [np.hypot(one.parts.seed_error, one.parts.example_error) for one in (exact, grouped)]
    assert errors[1] == pytest.approx(errors[0], rel=0.25)


def test_what_is_missing_or_decides_nothing_has_no_components(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, kept = stored("accuracy", monkeypatch)
    components = components_from(Store(tmp_path))
    assert components(Comparison(tuple(table)))
    assert components(Comparison(tuple(table[:1]))) is None
    del kept["dense 1"]
    assert components(Comparison(tuple(table))) is None
