"""Measure every embedded task: `python suite/measure.py [--store DIR] [TASK ...]` (half an hour).

For each task the score of the trivial baseline, of the shortcuts that a task could be solved by,
and of dense `mini` at the task's recipe, on the test split. The numbers go to suite.json and the
table of suite.md, both in docs/results; trainings that were done before are taken from the store.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from tombola.base.specs import LabSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import results
from tombola.lab.store.result import Result
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import dense
from tombola.plan.plan import Plan
from tombola.study.results.trainings import score_summary
from tombola.study.table.margins import margin_rule
from tombola.tasks.data.sources import read_split
from tombola.tasks.metrics import METRICS, answer_f1
from tombola.tasks.task import Task, load_task, task_names

RESULTS = Path(__file__).parents[1] / "docs" / "results"
STORE = Path(__file__).parents[1] / "runs" / "store"
WORKERS = 2
SEEDS = (0,)
START, END = "<!-- measured: start -->", "<!-- measured: end -->"

Rows = list[dict[str, Any]]
Shortcut = Callable[[Task, Rows, Rows], float]


def _vectors() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def _learned(model: Any, column: str) -> Shortcut:
    """The score of a classical model that sees one column as a bag of words."""

    def score(task: Task, train: Rows, test: Rows) -> float:
        fitted = make_pipeline(_vectors(), model)
        fitted.fit([row[column] for row in train], [row["label"] for row in train])
        predicted = fitted.predict([row[column] for row in test])
        labels = np.array([row["label"] for row in test], float)
        return METRICS[task.metric](np.column_stack([predicted, labels]))

    return score


def _shared_words(task: Task, train: Rows, test: Rows) -> float:
    """How alike two texts are as bags of words, and from where on that means yes."""
    vectors = _vectors().fit(row[text] for row in train for text in task.texts)

    def alike(rows: Rows) -> Any:
        first, second = (vectors.transform(row[text] for row in rows) for text in task.texts)
        return np.asarray(first.multiply(second).sum(axis=1))

    fitted = LogisticRegression().fit(alike(train), [row["label"] for row in train])
    return 100 * float(fitted.score(alike(test), [row["label"] for row in test]))


def _longest_word(task: Task, train: Rows, test: Rows) -> float:
    guesses = [max(row["context"].split(), key=len).strip('.,;:?!"') for row in test]
    scores = [answer_f1(g, row["answers"]["text"][0]) for g, row in zip(guesses, test, strict=True)]
    return 100 * float(np.mean(scores))


def _shared_example(task: Task, train: Rows, test: Rows) -> float:
    """The longest word of the example that shares most words with the definition."""
    scores = []
    for row in test:
        asked = set(row["question"].lower().split())
        examples = row["context"].split(". ")
        best = max(examples, key=lambda text: len(asked & set(text.lower().split())))
        guess = max(best.split(), key=len).strip('.,;:?!"')
        scores.append(answer_f1(guess, row["answers"]["text"][0]))
    return 100 * float(np.mean(scores))


SHORTCUTS: Mapping[str, Mapping[str, Shortcut]] = {
    "sentiment": {"bag of words": _learned(LogisticRegression(C=4, max_iter=1000), "sentence")},
    "valence": {"bag of words": _learned(Ridge(), "sentence")},
    "supersense": {
        "nearest neighbour": _learned(KNeighborsClassifier(1, metric="cosine"), "sentence"),
        "bag of words": _learned(LogisticRegression(C=4, max_iter=1000), "sentence"),
    },
    "gloss-match": {
        "definition alone": _learned(LogisticRegression(max_iter=1000), "sentence2"),
        "example alone": _learned(LogisticRegression(max_iter=1000), "sentence1"),
        "shared words": _shared_words,
    },
    "gloss-span": {"longest word": _longest_word, "longest of best": _shared_example},
    "mlm": {},
}


def trained(names: Sequence[str], folder: Path) -> dict[str, list[Result]]:
    """Dense runs of `mini` on each task, by workers of one thread each."""
    subjects = SubjectFactory(folder)
    tasks = {name: load_task(name) for name in names}
    jobs = {
        name: [
            dense(subjects.subject("mini", task, task.recipe, scope="encoder", folder=None), seed)
            for seed in SEEDS
        ]
        for name, task in tasks.items()
    }
    spec = LabSpec(store=str(folder), workers=WORKERS, threads=1)
    store, summary = run_plan(
        Plan.of([job for each in jobs.values() for job in each]), spec, RunCallback()
    )
    for _, error in summary.failed:
        raise error
    return {name: results(store, each) for name, each in jobs.items()}


def measured(name: str, runs: Sequence[Result]) -> dict[str, Any]:
    """Trivial, shortcut and dense scores of a task, in points."""
    task = load_task(name)
    facts = runs[0].facts
    scores = score_summary(runs)
    mean = scores["mean"]
    assert mean is not None
    train, test = read_split(task, "train"), read_split(task, task.test_split)
    shortcuts = {k: score(task, train, test) for k, score in SHORTCUTS[name].items()}
    return {
        "metric": task.metric,
        "train": len(train),
        "test": len(test),
        "trivial": facts["trivial"],
        "shortcuts": shortcuts,
        "dense": scores,
        "margin": margin_rule(mean, facts["trivial"]),
        "summed_learning_rate": facts["summed_learning_rate"],
    }


def table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The measurements as Markdown."""
    lines = [
        "| task | metric | trivial | shortcuts | dense `mini` | margin by rule | summed rate |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in scores.items():
        shortcuts = ", ".join(f"{k} {score:.1f}" for k, score in row["shortcuts"].items())
        dense, bound, rate = row["dense"]["mean"], row["margin"], row["summed_learning_rate"]
        lines.append(
            f"| `{name}` | {row['metric']} | {row['trivial']:.1f} | {shortcuts or 'none'} | "
            f"**{dense:.1f}** | {bound:.2f} | {rate:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure the tasks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="what to measure; all by default")
    parser.add_argument("--store", type=Path, default=STORE, help="where trainings are kept")
    asked = parser.parse_args()
    names = asked.tasks or [name for name in task_names() if name in SHORTCUTS]
    kept = RESULTS / "suite.json"
    scores = json.loads(kept.read_text()) if kept.exists() else {}
    for name, runs in trained(names, asked.store).items():
        scores[name] = measured(name, runs)
        print(name, json.dumps(scores[name]), flush=True)
    kept.write_text(json.dumps(scores, indent=1, sort_keys=True) + "\n")
    page = (RESULTS / "suite.md").read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    text = f"{before}{START}\n{table(dict(sorted(scores.items())))}\n{END}{after}"
    (RESULTS / "suite.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
