"""Build the embedded tasks: `python suite/build_tasks.py [TASK ...]`; all six by default.

Everything is drawn in an order fixed by hashes, so a rerun gives the same rows. Texts that are
nearly the same share a group, and a group never spans two splits. WordNet's synsets and Brown's
documents are split once for all tasks, so that what is held out for one is held out for all.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import sources
from splitting import by_share, joined, near_duplicates, order, shuffled

DATA = Path(__file__).parents[1] / "src/tombola/suite/data"
SPLITS = ("train", "dev", "test")
CATEGORIES = (
    "noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.food noun.group noun.person noun.plant noun.state"
).split()
ENDINGS = ("", "s", "es", "d", "ed", "ing", "'s")

Rows = dict[str, list[dict[str, Any]]]


# --- WordNet: one split of the synsets for every task ------------------------


@dataclass(frozen=True)
class Usage:
    """One sense of a word, with an example that uses the word."""

    lemma: str
    synset: sources.Synset
    example: str
    start: int
    """Where the word stands in the example."""
    word: str
    """The word as it stands there, inflected or not."""


def usage(synset: sources.Synset, lemma: str) -> Usage | None:
    """The first example of the synset that uses the word exactly once and says more than it."""
    stem, short = re.escape(lemma), re.escape(lemma[:-1])
    pattern = rf"\b({stem}(?:{'|'.join(ENDINGS)})|{short}(?:ies|ied|ing|ed))\b"
    for example in synset.examples:
        found = list(re.finditer(pattern, example, flags=re.IGNORECASE))
        if len(found) == 1 and len(example.split()) >= 3 and len(lemma) >= 3:
            return Usage(lemma, synset, example, found[0].start(), found[0].group())
    return None


def senses(synsets: Iterable[sources.Synset]) -> dict[tuple[str, str], list[Usage]]:
    """(part of speech, word) -> its senses that have a usage example, two or more."""
    words = defaultdict(list)
    for synset in synsets:
        for lemma in synset.lemmas:
            found = usage(synset, lemma)
            if found is not None:
                words[synset.id[0], lemma.lower()].append(found)
    return {word: uses for word, uses in words.items() if len(uses) >= 2}


def split_synsets(synsets: Sequence[sources.Synset]) -> dict[str, str]:
    """Synset id -> split; near-duplicate glosses and examples stay together.

    All senses of a few hundred words go to test and to dev whole, so that words are held out and
    not only senses; the other groups are drawn one by one. Kept in a file, since it takes minutes.
    """
    path = sources.BUILD / "synset_splits.json"
    if not path.exists():
        path.write_text(json.dumps(_split_synsets(synsets)))
    split: dict[str, str] = json.loads(path.read_text())
    return split


def _split_synsets(synsets: Sequence[sources.Synset]) -> dict[str, str]:
    texts, owners = [], []
    for number, synset in enumerate(synsets):
        for text in (synset.definition, *synset.examples):
            texts.append(text or "-")
            owners.append(number)
    groups = joined(near_duplicates(texts), owners, len(synsets))
    group_of = {synset.id: group for synset, group in zip(synsets, groups, strict=True)}
    split: dict[int, str] = {}
    quota = {"test": 700, "dev": 250}
    for _, uses in shuffled(senses(synsets).items(), "words", key=lambda item: item[0]):
        mine = {group_of[use.synset.id] for use in uses}
        room = next((name for name in quota if quota[name] > 0), None)
        if room and len(uses) <= 6 and not mine & split.keys():
            split |= dict.fromkeys(mine, room)
            quota[room] -= 1
    for group in set(groups):
        split.setdefault(group, by_share(("synsets", group), dev=0.04, test=0.08))
    return {id: split[group] for id, group in group_of.items()}


def supersense(synsets: Sequence[sources.Synset], split: dict[str, str]) -> Rows:
    """Noun gloss -> one of twelve lexicographer categories, equally many of each."""
    size = {"train": 500, "dev": 50, "test": 125}
    rows: Rows = {name: [] for name in SPLITS}
    pools = defaultdict(list)
    for synset in synsets:
        if synset.category in CATEGORIES and len(synset.definition.split()) >= 3:
            pools[split[synset.id], synset.category].append(synset)
    for (name, category), pool in sorted(pools.items()):
        seen: dict[str, sources.Synset] = {}
        for synset in shuffled(pool, "supersense", key=lambda s: s.id):
            seen.setdefault(synset.definition.lower(), synset)
        for text, synset in list(seen.items())[: size[name]]:
            label = CATEGORIES.index(category)
            rows[name].append({"sentence": text, "label": label, "synset": synset.id})
    return rows


def definable(synsets: Sequence[sources.Synset]) -> list[Usage]:
    """A word of each synset in use, where its definition does not give it away."""
    pool = []
    for synset in synsets:
        if len(synset.definition.split()) >= 3:
            found = (usage(synset, lemma) for lemma in synset.lemmas)
            pool += [u for u in found if u and u.word.lower() not in synset.definition.lower()][:1]
    return pool


def gloss_match(synsets: Sequence[sources.Synset], split: dict[str, str]) -> Rows:
    """Usage example + definition: does it define a word of the example?

    The synsets stand in a ring, sorted by part of speech: each example comes with its own
    definition and with the next one's, so every example and every definition is as often right as
    wrong.
    """
    size = {"train": 4000, "dev": 400, "test": 1000}
    rows: Rows = {name: [] for name in SPLITS}
    for name in SPLITS:
        pool = definable([synset for synset in synsets if split[synset.id] == name])
        ring = shuffled(pool, "match", key=lambda use: use.synset.id)[: size[name]]
        ring.sort(key=lambda use: use.synset.id[0])
        for use, other in zip(ring, ring[1:] + ring[:1], strict=True):
            for synset, label in ((use.synset, 1), (other.synset, 0)):
                rows[name].append(
                    {
                        "sentence1": use.example,
                        "sentence2": synset.definition,
                        "label": label,
                        "synset": use.synset.id,
                        "synset2": synset.id,
                    }
                )
    return rows


def gloss_span(synsets: Sequence[sources.Synset], split: dict[str, str]) -> Rows:
    """Definition as question, shuffled usage examples as context, the word defined as answer.

    The other examples are drawn from the same pool, so that each has a word of its own that
    could be asked for.
    """
    size = {"train": 6000, "dev": 500, "test": 1500}
    rows: Rows = {name: [] for name in SPLITS}
    for name in SPLITS:
        pool = definable([synset for synset in synsets if split[synset.id] == name])
        pool = shuffled(pool, "span", key=lambda use: use.synset.id)
        for number, use in enumerate(pool[: size[name]]):
            rows[name].append(_question(use, pool, number))
    return rows


def _question(use: Usage, pool: Sequence[Usage], number: int) -> dict[str, Any]:
    count = 3 + order("count", use.synset.id) % 3
    shift = 1 + order("shift", use.synset.id) % (len(pool) // 7)
    others = [pool[(number + shift * (k + 1)) % len(pool)] for k in range(count)]
    others = [other for other in others if use.word.lower() not in other.example.lower()]
    context, start = "", 0
    for item in shuffled([use, *others], use.synset.id, key=lambda item: item.synset.id):
        context += " " if context else ""
        if item is use:
            start = len(context) + use.start
        context += item.example.rstrip(" .;") + "."
    answers = {"text": [use.word], "answer_start": [start]}
    question = use.synset.definition
    return {"id": use.synset.id, "question": question, "context": context, "answers": answers}


# --- reviews and Brown -------------------------------------------------------


def split_reviews(kind: str) -> list[tuple[str, float, str, str]]:
    """(id, rating, text, split) of every snippet; near duplicates stay together.

    The Amazon snippets also stay with the others of their review.
    """
    snippets = sources.reviews(kind)
    groups = near_duplicates([text for _, _, text in snippets])
    if kind == "amazon":
        items = range(len(snippets))
        reviews = [-int(id.split("_")[0]) for id, _, _ in snippets]
        least = min(reviews)
        tags = [tag - least for tag in (*reviews, *groups)]
        groups = joined(tags, [*items, *items], len(items))
    dev, test = {"movie": (0.06, 0.2), "amazon": (0.1, 0.25)}[kind]
    return [
        (id, rating, text, by_share((kind, group), dev=dev, test=test))
        for (id, rating, text), group in zip(snippets, groups, strict=True)
    ]


def reviews(kind: str, label: Callable[[float], float | int | None]) -> Rows:
    """Snippets with a label; a label of None leaves the snippet out, repeated texts come once."""
    rows: Rows = {name: [] for name in SPLITS}
    seen = set()
    for id, rating, text, split in shuffled(split_reviews(kind), kind, key=lambda row: row[0]):
        value = label(rating)
        if value is not None and text.lower() not in seen and len(text.split()) >= 2:
            seen.add(text.lower())
            rows[split].append({"sentence": text, "label": value, "snippet": id})
    return rows


def polarity(rating: float) -> int | None:
    """1 for a positive snippet, 0 for a negative one, None where the raters saw neither."""
    return int(rating > 0) if abs(rating) >= 0.5 else None


def split_brown() -> dict[str, str]:
    """Brown document -> split."""
    return {name: by_share(("brown", name), dev=0.04, test=0.08) for name in sources.brown()}


def entry(synset: sources.Synset) -> str:
    """A synset as a dictionary would print it."""
    examples = "".join(f"; {example}" for example in synset.examples)
    return f"{', '.join(synset.lemmas)}: {synset.definition}{examples}."


def masked_lm(synsets: Sequence[sources.Synset], split: dict[str, str]) -> Rows:
    """Paragraphs of Brown and entries of WordNet, two to one."""
    size = {"train": 9000, "dev": 450, "test": 1200}
    rows: Rows = {name: [] for name in SPLITS}
    documents = split_brown()
    for name in SPLITS:
        paragraphs = [
            text
            for document, texts in sources.brown().items()
            for text in texts
            if documents[document] == name and len(text.split()) >= 12
        ]
        entries = [
            entry(synset)
            for synset in synsets
            if split[synset.id] == name and len(entry(synset).split()) >= 12
        ]
        mixed = shuffled(paragraphs, "mlm")[: size[name] * 2 // 3]
        mixed += shuffled(entries, "mlm")[: size[name] // 3]
        rows[name] = [{"text": text} for text in shuffled(mixed, "mixed")]
    return rows


# --- checks and files --------------------------------------------------------


def texts(row: dict[str, Any]) -> list[str]:
    """The texts of a row that must not recur in another split."""
    fields = ("sentence", "sentence1", "sentence2", "question", "text")
    return [row[field] for field in fields if field in row]


def check(task: str, rows: Rows) -> None:
    """Stop if a text, or nearly the same text, stands in two splits of a task."""
    pairs = [(text, name) for name in SPLITS for row in rows[name] for text in texts(row)]
    spans = defaultdict(set)
    for group, (_, name) in zip(near_duplicates([t for t, _ in pairs]), pairs, strict=True):
        spans[group].add(name)
    crossing = sum(len(names) > 1 for names in spans.values())
    print(f"{task:12}", {name: len(rows[name]) for name in SPLITS}, "crossing groups:", crossing)
    if crossing:
        raise SystemExit(f"{task}: {crossing} groups of near duplicates span two splits")


def drop_crossing(rows: Rows) -> Rows:
    """Leave out of train, then of dev, what is nearly the same as a text of a later split."""
    pairs = [(t, name, i) for name in SPLITS for i, r in enumerate(rows[name]) for t in texts(r)]
    last: dict[int, int] = defaultdict(int)
    groups = near_duplicates([text for text, _, _ in pairs])
    for group, (_, name, _) in zip(groups, pairs, strict=True):
        last[group] = max(last[group], SPLITS.index(name))
    gone = {
        (name, number)
        for group, (_, name, number) in zip(groups, pairs, strict=True)
        if SPLITS.index(name) < last[group]
    }
    return {
        name: [row for number, row in enumerate(rows[name]) if (name, number) not in gone]
        for name in SPLITS
    }


def write(task: str, rows: Rows) -> None:
    """One parquet file a split, named as on the hub."""
    folder = DATA / task
    folder.mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        table = pa.Table.from_pylist(rows[name])
        path = folder / f"{name}-00000-of-00001.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=19)


def main() -> None:
    """Build the tasks that are named, or all."""
    sources.fetch()
    synsets = sources.wordnet()
    split = split_synsets(synsets)
    tasks: dict[str, Callable[[], Rows]] = {
        "sentiment": lambda: reviews("movie", polarity),
        "valence": lambda: reviews("amazon", lambda rating: round(rating, 4)),
        "supersense": lambda: supersense(synsets, split),
        "gloss-match": lambda: gloss_match(synsets, split),
        "gloss-span": lambda: gloss_span(synsets, split),
        "mlm": lambda: masked_lm(synsets, split),
    }
    for task in sys.argv[1:] or tasks:
        rows = tasks[task]()
        kept = drop_crossing(rows)
        check(task, kept)
        write(task, kept)


if __name__ == "__main__":
    main()
