"""A stray quote swallows no row: all come out, or the line is named where it opens."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import DataError
from tombola.tasks.data.delimited import read_delimited
from tombola.tasks.data.rows import FileRows


def part(folder: Path, text: str, name: str = "train.csv") -> FileRows:
    content = text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return read_delimited(folder / name, ("text", "label"))


STRAY: list[tuple[str, int]] = [
    ('"open,0\nfoo,1\nbar,0\n', 2),
    ('foo,0\n"open,1\nbar,0\n', 3),
    ('foo,0\n"open,1\n"a, b",0\n', 3),
    ('"open,0\nfoo,1\na 5",1\nbar,0\n', 2),
    ('"open,good\nfoo,bad\na 5",bad\nbar,good\n', 2),
    ('"a"b,0\nfoo,1\n', 2),
    ('foo,"0\nbar,1\nlast,0"\nmore,1\n', 2),
    ('foo,"good\nbar,bad\nlast,good"\nmore,bad\nmost,good\n', 2),
    ('"two\nlines ""said""",0\n"open,1\nbar,0\n', 4),
    ('foo,0\n"open,1,2\nbar"",0\n', 3),
]


@pytest.mark.parametrize(("rows", "line"), STRAY)
def test_a_stray_quote_is_refused_with_its_line(tmp_path: Path, rows: str, line: int) -> None:
    with pytest.raises(DataError, match=f"the quote that opens in line {line} is not closed"):
        part(tmp_path, f"text,label\n{rows}")


@pytest.mark.parametrize(("rows", "line"), [case for case in STRAY if ", b" not in case[0]][:5])
def test_with_tabs_quotes_then_mean_nothing_and_all_rows_come(
    tmp_path: Path, rows: str, line: int
) -> None:
    found = part(tmp_path, f"text\tlabel\n{rows}".replace(",", "\t"), "train.tsv")
    texts = [row.split(",")[0] for row in rows.splitlines()]
    assert [row["text"] for row in found.rows] == texts
    assert found.note == (
        f"quotes mean nothing in train.tsv: the one that opens in line {line} is not closed at the "
        "end of its field."
    )


LEGAL: list[tuple[str, list[str]]] = [
    ('"a, b",0\n"c ""d""\ne",1\n', ["a, b", 'c "d"\ne']),
    ('"Hello, dear\nyou",0\n"Hello, dear\nme",1\n', ["Hello, dear\nyou", "Hello, dear\nme"]),
    ('5" disk,0\nsay "hi",1\n', ['5" disk', 'say "hi"']),
    ('"","0"\r\n\r\nx,1\r\n', ["", "x"]),
    ('"' + "x" * 200_000 + '",1\n', ["x" * 200_000]),
    ('"a\r\nb\n\nc",1\n', ["a\r\nb\n\nc"]),
]


@pytest.mark.parametrize(("rows", "texts"), LEGAL)
@pytest.mark.parametrize("name", ["train.csv", "train.csv.gz", "train.tsv"])
def test_quotes_that_are_closed_are_read_as_before(
    tmp_path: Path, rows: str, texts: list[str], name: str
) -> None:
    if name.endswith(".tsv"):
        rows, texts = rows.replace(",", "\t"), [text.replace(",", "\t") for text in texts]
    header = "text\tlabel\n" if name.endswith(".tsv") else "text,label\n"
    assert [row["text"] for row in part(tmp_path, header + rows, name).rows] == texts


def test_a_row_is_placed_on_the_line_where_it_begins(tmp_path: Path) -> None:
    found = part(tmp_path, 'text,label\n"a\nb",0\n\nc,1\n')
    assert [found.place(number) for number in range(2)] == ["line 2", "line 5"]


def test_only_the_columns_that_are_asked_for_need_a_name_of_their_own(tmp_path: Path) -> None:
    found = part(tmp_path, ",,text,label\n0,7,a,1\n")
    assert found.rows == [{"text": "a", "label": "1"}]
    found.check(("text", "label"), "mine", "Add it.")
    twice = part(tmp_path, "text,text,label\na,b,1\n")
    with pytest.raises(DataError, match="has two columns 'text'"):
        twice.check(("text",), "mine", "Add it.")


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00rest", b"text,label\na,1\n"])
def test_a_damaged_gz_is_reported(tmp_path: Path, content: Any) -> None:
    (tmp_path / "train.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.csv\.gz', got: ") as caught:
        read_delimited(tmp_path / "train.csv.gz", ("text",))
    assert "\n" not in str(caught.value)
