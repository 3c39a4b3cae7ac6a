"""Files of data that unpack to far more than they are large are refused in little memory."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memory_limit import memory_limit
from tombola.base.errors import DataError
from tombola.tasks.data.sources import read_split
from tombola.tasks.task import load_task

ROWS = 3_000_000


def rows(text: str, count: int) -> pa.Table:
    """One row, many times."""
    places = pa.nulls(count, pa.int32()).fill_null(0)
    texts = pa.DictionaryArray.from_arrays(places, pa.array([text]))
    return pa.table({"sentence": texts, "label": pa.nulls(count, pa.int64()).fill_null(1)})


def parquet(table: pa.Table) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(table, folder / "test.parquet", compression="zstd")


def arrow(table: pa.Table, new: Callable[..., Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        packed = pa.ipc.IpcWriteOptions(compression="zstd")
        with new(folder / "test.arrow", table.schema, options=packed) as file:
            file.write_table(table, max_chunksize=10_000)

    return write


def compressed(folder: Path) -> None:
    with gzip.open(folder / "test.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"sentence,label\n")
        for _ in range(100):
            file.write(b"a good film,1\n" * 300_000)


LONG = "x" * (1 << 20)
BOMBS: dict[str, Callable[[Path], None]] = {
    "parquet, many rows": parquet(rows("good", ROWS)),
    "parquet, long texts": parquet(rows(LONG, 3000)),
    "parquet, long texts without a dictionary": parquet(
        rows(LONG, 500).set_column(0, "sentence", [pa.array([LONG] * 500)])
    ),
    "arrow stream": arrow(rows("good", ROWS), pa.ipc.new_stream),
    "arrow file": arrow(rows("good", ROWS), pa.ipc.new_file),
    "arrow, long texts": arrow(rows(LONG, 3000), pa.ipc.new_file),
    "gzip": compressed,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_unpacks_to_far_more_is_refused(name: str, tmp_path: Path) -> None:
    BOMBS[name](tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 4 << 20
    with (
        memory_limit(2 << 30),
        pytest.raises(DataError, match=r"times its|holds more than") as found,
    ):
        read_split(load_task("sentiment"), "test", tmp_path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("write", [parquet, lambda t: arrow(t, pa.ipc.new_stream)])
def test_many_equal_rows_are_data(
    write: Callable[[pa.Table], Callable[[Path], None]], tmp_path: Path
) -> None:
    write(rows("a good film", 2000))(tmp_path)
    assert len(read_split(load_task("sentiment"), "test", tmp_path)) == 2000
