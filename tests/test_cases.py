"""Other people's files and mistakes, small: the exit status and the essential words of each.

A case that works says which notes there must be; one that is refused says so in one line, with what
to do.
"""

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import Cli

SMALL = (
    "--sparsity=0.5 --step=0.5 --controls=none --epochs=1 --batch-size=16 --max-length=32 "
    "--threads=1"
).split()

WORDS = ("film", "plot", "actor", "scene", "story", "end", "music")
SIZES = {"train": 16, "test": 8}
Content = str | bytes


def texts(size: int, first: int = 0) -> list[str]:
    """Texts that all differ, of words that the tokenizer knows."""
    return [
        f"the {WORDS[n % 7]} was a long {WORDS[n // 7 % 7]}" for n in range(first, first + size)
    ]


def rows(split: str, labels: Sequence[Any]) -> list[tuple[str, Any]]:
    """Texts of a split, and the labels in turn."""
    first = {"train": 0, "test": 20, "validation": 30}[split]
    named = cycle(labels)
    return [(text, next(named)) for text in texts(SIZES.get(split, 8), first)]


def table(pairs: Sequence[tuple[str, Any]], header: str = "text,label", comma: str = ",") -> str:
    lines = [header, *(comma.join(map(str, pair)) for pair in pairs)]
    return "\n".join(lines) + "\n"


def both(
    ext: str = "csv",
    *,
    labels: Sequence[Any] = ("bad", "good"),
    test: Sequence[Any] = (),
    header: str = "text,label",
    comma: str = ",",
    change: Callable[[str], Content] = str,
) -> dict[str, Content]:
    """A training and a test file."""
    return {
        f"train.{ext}": change(table(rows("train", labels), header, comma)),
        f"test.{ext}": change(table(rows("test", test or labels), header, comma)),
    }


def objects(labels: Sequence[Any] = ("bad", "good"), *, between: str = "\n") -> dict[str, Content]:
    """JSON lines, or objects with something else between them."""
    return {
        f"{split}.jsonl": between.join(
            json.dumps({"text": text, "label": label}) for text, label in rows(split, labels)
        )
        for split in SIZES
    }


def parquet(**columns: Callable[[str, Any], Any]) -> dict[str, Content]:
    """Parquet files with columns made of text and label."""
    found: dict[str, Content] = {}
    for split in SIZES:
        made = {n: [make(*row) for row in rows(split, (0, 1))] for n, make in columns.items()}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(made), sink)
        found[f"{split}.parquet"] = sink.getvalue().to_pybytes()
    return found


def squad(change: Callable[[dict[str, Any]], Any] = dict) -> dict[str, Content]:
    """SQuAD's own files; `change` spoils the third question of the training file."""
    found: dict[str, Content] = {}
    for split, size in (("train", 12), ("dev", 8)):
        articles = []
        for number, text in enumerate(texts(size)):
            context = f"née 🎬 {text} and good"
            answer = {"text": "good", "answer_start": context.index("good")}
            question = {"id": f"q{number}", "question": "how was it", "answers": [answer]}
            if (split, number) == ("train", 2):
                change(question)
            articles.append({"paragraphs": [{"context": context, "qas": [question]}]})
        found[f"{split}-v1.1.json"] = json.dumps({"data": articles}, ensure_ascii=False)
    return found


def moved(question: dict[str, Any], by: int) -> None:
    question["answers"][0]["answer_start"] += by


@dataclass
class Case:
    """Files in a folder, flags, and the right answer."""

    files: Mapping[str, Content]
    said: str
    """A pattern that the one line of a refusal, or the output, matches."""
    flags: str = ""
    task: str = "csv:data"
    refused: bool = False


def works(files: Mapping[str, Content], said: str = "", flags: str = "", **more: Any) -> Case:
    return Case(files=files, said=said, flags=flags, **more)


def refused(files: Mapping[str, Content], said: str, flags: str = "", **more: Any) -> Case:
    return Case(files=files, said=said, flags=flags, refused=True, **more)


BLANK_TEST = {"test.csv": table([(text, "") for text in texts(8, 20)])}
HIDDEN_TEST = {"test.csv": table([(text, -1) for text in texts(8, 20)])}
FRACTIONS = table([(text, f"{n}.5") for n, text in enumerate(texts(24))])
DROP = "--drop-bad-rows"
SQUAD = {"task": "squad", "flags": "--data=data --stride=16"}
SQUAD_DROP = {"task": "squad", "flags": "--data=data --stride=16 --drop-bad-rows"}

CASES: dict[str, Case] = {
    # labels
    "truth values in three spellings are two classes": works(
        both(labels=("True", "FALSE", "true", "false"), test=("TRUE", "False")),
        "writes the class True as 'True', 'true'",
    ),
    "numbers in train, truth values in test": works(both(labels=(1, 0), test=("True", "False"))),
    "truth values in train, numbers in test": works(both(labels=("true", "false"), test=(1, 0))),
    "JSON truth values": works(objects((True, False))),
    "classes that differ in case": works(
        both(labels=("yes", "no", "Yes")), "'Yes', 'yes' are different classes"
    ),
    "another case in test": refused(
        both(labels=("yes", "no"), test=("Yes", "no")),
        r"test.csv', line 2, column 'label': .* classes 'no', 'yes', got 'Yes'\.",
    ),
    "spaces around labels": works(both(labels=(" very bad", "good "), test=("very bad", "good"))),
    "numbers from 1": works(both(labels=(1, 2, 3), test=(2.0, "+3"))),
    "numbers from 1 for named classes": refused(
        both(labels=(1, 2)), "classes 'a', 'b' or their places from 0 to 1, got '2'", "--labels=a,b"
    ),
    "signs": works(both(labels=("+1", "-1"), test=(1, -1))),
    "a class in test only": refused(
        both(test=("bad", "odd")), r"test.csv', line 3, column 'label': .* got 'odd'\. Correct"
    ),
    "a class in test only, dropped": works(
        both(test=("bad", "odd", "good")), "3 of 8 rows of test can't be used", DROP
    ),
    "NaN in test only": refused(
        both(labels=("0.0", "1.0"), test=(0, 1, "nan")), "test.csv', line 4, .* got 'nan'"
    ),
    "one class": refused(both(labels=("a",)), "two classes or more .* got 'a'"),
    "blank labels in train": refused(
        both(labels=("a", "b", "")), "train.csv', line 4, column 'label': .* one class in every row"
    ),
    "lists as labels": refused(
        objects((["a"], ["b"])),
        r"one class \(several, multi-label classification, is not supported",
    ),
    "values for classes": refused(
        {"train.csv": FRACTIONS, "test.csv": FRACTIONS}, "24 different numbers.*--kind regression"
    ),
    "values, said so": works(
        {"train.csv": FRACTIONS, "test.csv": FRACTIONS}, "pearson", "--kind=regression"
    ),
    "classes named for values": refused(
        both(labels=(1, 2)), "--labels names classes", "--kind=regression --labels=a,b"
    ),
    "decimal commas": refused(
        both(labels=('"1,5"', '"2,5"')), "line 2, .* finite number, got '1,5'", "--kind=regression"
    ),
    "test labels are blank": refused({**both(), **BLANK_TEST}, "are all blank, so .* hidden"),
    "test labels are -1": refused(
        {**both(labels=(0, 1)), **HIDDEN_TEST},
        "are all -1, so .* hidden. Use another --eval-split",
    ),
    "test labels are all dropped": refused(
        {**both(labels=(0, 1)), **HIDDEN_TEST}, "all 8 were dropped.*another --eval-split", DROP
    ),
    "no label column in test": refused(
        {**both(), "test.csv": "text\na film\nthe plot\n"},
        "'label', found 'text'. Add it, or use another --eval-split",
    ),
    # columns
    "a column called sentence": refused(
        both(header="sentence,class"), "found 'sentence', 'class' .*pass it as --label-column"
    ),
    "a column called sentence, named": works(
        both(header="sentence,class"), "", "--text-columns=sentence --label-column=class"
    ),
    "a label column called class": refused(
        both(header="text,class"), "found 'text', 'class' .* Pass one of them as --label-column"
    ),
    "no header": refused(both(header="a film,good"), "found 'a film', 'good' in its first line"),
    "the text column is the label column": refused(
        both(), "columns that differ .* got 'label' twice", "--text-columns=text,label"
    ),
    "a text column twice": refused(
        both(), "columns that differ .* got 'text' twice", "--text-columns=text,text"
    ),
    # files
    "semicolons": refused(
        both(header="text;label", comma=";"), "got semicolons. Save it with comm"
    ),
    "semicolons and quotes": refused(
        both(header='"text";"label"', comma=";"), "got semicolons. Save it with commas"
    ),
    "semicolons, and commas in texts": refused(
        both(header="text;label", comma=", really;"), "got semicolons. Save it with commas"
    ),
    "tabs in .csv": refused(both(header="text\tlabel", comma="\t"), "got tabs. Call it .tsv"),
    "commas in .tsv": refused(both("tsv"), "got commas. Call it .csv"),
    "tabs in .tsv": works(both("tsv", header="text\tlabel", comma="\t")),
    "CR LF": works(both(change=lambda text: text.replace("\n", "\r\n"))),
    "CR": works(both(change=lambda text: text.replace("\n", "\r"))),
    "CR between JSON lines": works(objects(between="\r")),
    "a byte-order mark": works(both(change=lambda text: text.encode("utf-8-sig"))),
    "UTF-16": refused(
        both(change=lambda text: text.encode("utf-16")), "not UTF-8 but UTF-16. Save"
    ),
    "UTF-16 without a mark": refused(
        both(change=lambda text: text.encode("utf-16-le")), "not UTF-8 but UTF-16. Save"
    ),
    "Latin-1": refused(
        both(change=lambda text: (text + "née,bad\n").encode("latin-1")), "train.csv' .* in line 18"
    ),
    "compressed": works(both("csv.gz", change=lambda text: gzip.compress(text.encode()))),
    "cut off while compressed": refused(
        both("csv.gz", change=lambda text: gzip.compress(text.encode())[:-30]), "Compress it again"
    ),
    "an empty file": refused(
        {**both(), "train.csv": ""}, "training rows in .*train.csv', got none"
    ),
    "an empty test file": refused({**both(), "test.csv": ""}, "test split .* has no rows. Check"),
    "an empty shard": works({**both(), "train-1.csv": ""}),
    "a header only": refused({**both(), "train.csv": "text,label\n"}, "training rows .* got none"),
    "one row": refused({"train.csv": table([("a film", "bad")])}, "two classes or more"),
    "an open quote": refused(
        {**both(), "train.csv": 'text,label\n"a film,bad\nthe plot,good\n'}, "opens in line 2 "
    ),
    "a comma too many": refused(
        {**both(), "train.csv": "text,label\na film, really,bad\n"}, "line 2 has 3 fields"
    ),
    "JSON lines with commas behind": refused(
        objects(between=",\n"), "line 1: .* Write an object on each line"
    ),
    "JSON cut off": refused(
        {**objects(), "train.jsonl": str(objects()["train.jsonl"])[:-5]}, "train.jsonl' .* line 16:"
    ),
    "a JSON list": works(
        {
            "train.json": '[{"text": "a film", "label": 1}, {"text": "the plot", "label": 0}]',
            "test.json": '{"data": [{"text": "an end", "label": 1}, {"text": "it", "label": 0}]}',
        }
    ),
    "whole columns in JSON": refused(
        {**objects(), "train.jsonl": '{"text": ["a", "b"], "label": [0, 1]}'},
        "one with whole colum",
    ),
    "no text in an object": refused(
        {**objects(), "test.jsonl": '{"label": "bad"}\n{"text": "a film", "label": "bad"}'},
        r"test.jsonl', line 1, column 'text': .* needs a text, got nothing\.",
    ),
    "one file without a test split": works(
        {"all.csv": table(rows("train", ("bad", "good")))}, "there is no test split: of 16 rows"
    ),
    "one file, scored on what people call validation": works(
        {"all.csv": table(rows("train", ("bad", "good")) * 2)},
        "on the validation split",
        "--eval-split=validation",
    ),
    "validation for dev": works(
        {**both(), "validation.csv": table(rows("validation", ("bad", "good")))},
        "dense's gain on dev",
    ),
    "train and validation, but no test split": refused(
        {"train.csv": both()["train.csv"], "validation.csv": both()["test.csv"]},
        "needs the split 'test' .* found train, validation. Add it, or use another --eval-split",
    ),
    "names that say nothing": refused(
        {"one.csv": FRACTIONS, "two.csv": FRACTIONS}, "found one.csv, two.csv. .* rename the files"
    ),
    "parquet with codes": works(parquet(text=lambda text, label: text, label=lambda _, n: n == 1)),
    "parquet with lists of words": refused(
        parquet(text=lambda text, label: text.split(), label=lambda _, n: n),
        r"train.parquet', row 0, .* column 'text': .* needs a text, got",
    ),
    # texts
    "Arabic": refused(
        both(change=lambda text: re.sub(r"\n.*,", "\nفيلم,", text)), "every token is unknown"
    ),
    "half Chinese": works(
        both(change=lambda text: text.replace(" was", " 电影很好看")),
        "tokens of the train split are u",
    ),
    "long texts that begin alike": refused(
        {
            f"{split}.csv": table([("the film " * 40 + text, n) for n, text in enumerate(texts(8))])
            for split in SIZES
        },
        "all the same to .* Use other data, or a --max-length",
    ),
    "duplicates": works(
        {**both(), "train.csv": table(rows("train", ("bad", "good"))[:2] * 8)},
        "only 2 of the 16 ex",
    ),
    "train rows in test": works(
        {**both(), "test.csv": both()["train.csv"]}, "16 rows of the train split are in the test"
    ),
    "blank texts": works(
        {**both(), "test.csv": table([(" ", "bad"), *rows("test", ("bad", "good"))])},
        "11.1 % of the rows of the test split have an empty text",
    ),
    "blank texts, dropped": works(
        {**both(), "test.csv": table([(" ", "bad"), *rows("test", ("bad", "good"))])},
        "1 of 9 rows of test can't be used and were dropped: 1 for 'text'",
        DROP,
    ),
    # SQuAD
    "SQuAD": works(squad(), "f1|F1", **SQUAD),
    "a start in UTF-16 units": refused(
        squad(lambda question: moved(question, 1)), "train-v1.1.json', question 2, .* 'q2'", **SQUAD
    ),
    "a start in UTF-16 units, dropped": works(
        squad(lambda question: moved(question, 1)), "dropped: 1 for 'answers'", **SQUAD_DROP
    ),
    "a question without an answer": refused(
        squad(lambda question: question.update(answers=[], is_impossible=True)),
        "question 2, .* column 'answers': .* needs an answer",
        **SQUAD,
    ),
    "a question without the field": works(
        squad(lambda question: question.pop("answers")), "dropped: 1 for 'answers'", **SQUAD_DROP
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_its_right_answer(name: str, cli: Cli, tiny: Path) -> None:
    case = CASES[name]
    Path("data").mkdir()
    for file, content in case.files.items():
        data = content.encode() if isinstance(content, str) else content
        Path("data", file).write_bytes(data)
    command = ["find", "--model", tiny, "--task", case.task, *case.flags.split(), *SMALL]
    status, out, err = cli(*command)
    lines = [line for line in err.splitlines() if line.startswith("tombola: ")]
    assert "Traceback" not in out + err
    if case.refused:
        assert (status, len(lines)) == (2, 1), err
        assert re.search(case.said, lines[0]), lines[0]
        assert len(re.findall(r"[.?] [A-Z]", lines[0])) >= 1, f"says not what to do: {lines[0]}"
    else:
        assert status == 0, err
        assert re.search(case.said, re.sub(r"\s+", " ", out)), out
