"""A store deletes what was made in it, and nothing else: not behind links, not of other names."""

import gzip
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from test_store import FILES, put, result

from command_line import Cli
from processes import dead
from tombola.base.errors import DataError, OutputError, TombolaError
from tombola.base.files import write_bytes
from tombola.base.folders import write_folder
from tombola.lab.store.damage import damage_in
from tombola.lab.store.garbage import collect
from tombola.lab.store.lease import sweep
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import damaged_fingerprints
from tombola.tasks.data.utf8 import read_text
from tombola.ticket.imported.reading import read_imported
from tombola.training.checkpoint import Checkpoint

KEY = result().key
SHELF = KEY[:2]
LITTER = f"{dead().name}-0a1b"
NAMES = (
    "weights.safetensors",
    "state.safetensors",
    "state.json",
    "result.json",
    "mask.safetensors",
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's in which everything has the names that a store would delete."""
    folder = tmp_path / "mine"
    for inner in ("", KEY, f"{SHELF}/{KEY}", "step-3", f"{KEY}/step-3", LITTER):
        (folder / inner).mkdir(parents=True, exist_ok=True)
        for name in (*NAMES, f"{KEY}.json", ".0123456789abcdef", "thesis.txt"):
            (folder / inner / name).write_text(f"{inner}/{name}")
    return folder


def grown(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def aged(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        if not each.is_symlink():
            os.utime(each, (1, 1))


def spoil(store: Store) -> None:
    (store.folder / "results" / SHELF / KEY / "result.json").write_text("{}")


LINKS = [
    *("weights", "partial", "tmp", "leases", "results"),
    *(f"weights/{SHELF}", f"weights/{SHELF}/{KEY}", f"partial/{KEY}", f"partial/{KEY}/step-3"),
    *(f"results/{SHELF}", f"results/{SHELF}/{KEY}", f"tmp/{LITTER}", f"leases/{KEY}.json"),
]
CHORES: list[Callable[[Store], object]] = [
    collect,
    lambda store: collect(store, everything=True),
    lambda store: store.drop_weights(KEY),
    lambda store: store.remove(KEY),
    lambda store: store.save(result(), FILES),
    lambda store: store.save_weights(KEY, put(b"w")),
    lambda store: sweep(store.folder / "leases"),
    lambda store: Checkpoint(store.partial(KEY))._remove_all_but(None),
    lambda store: list(damage_in(store)),
]


def short(place: str) -> str:
    """The same id of a test in every process."""
    return place.replace(LITTER, "litter").replace(KEY, "key")


@pytest.mark.parametrize("place", LINKS, ids=short)
def test_nothing_behind_a_link_is_deleted(tmp_path: Path, outside: Path, place: str) -> None:
    before = grown(outside)
    for number, chore in enumerate(CHORES):
        store = Store(tmp_path / f"store-{number}")
        store.save(result(), FILES)
        link = store.folder / place
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir():
            shutil.rmtree(link)
        link.symlink_to(outside)
        aged(outside)
        with suppress(OutputError):
            chore(store)
        after = grown(outside)
        assert {name: after.get(name) for name in before} == before
        if number < 2:
            assert link.is_symlink()


@pytest.mark.parametrize(
    "place",
    [
        f"weights/{SHELF}/{KEY}/weights.safetensors",
        f"partial/{KEY}/state.safetensors",
        f"partial/{KEY}/step-3/state.json",
        f"results/{SHELF}/{KEY}/result.json",
        f"results/{SHELF}/{KEY}/mask.safetensors",
        f"leases/{KEY}.json",
        "leases/.0123456789abcdef",
        f"tmp/{LITTER}",
    ],
    ids=short,
)
def test_a_link_to_a_file_is_never_followed_and_stays(
    tmp_path: Path, outside: Path, place: str
) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    link = store.folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside / "thesis.txt")
    aged(outside)
    assert any("a link" in what or "plain file" in what for _, what in damage_in(store))
    collect(store, everything=True)
    assert link.is_symlink()
    with suppress(OutputError):
        store.remove(KEY)
    with suppress(OutputError):
        store.drop_weights(KEY)
    assert (outside / "thesis.txt").read_text() == "/thesis.txt"


def test_foreign_files_stay_wherever_they_were_put(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    store.save_weights(KEY, put(b"12345"))
    places = [
        "weights/thesis.safetensors",
        "weights/aa/notes.json",
        f"weights/{SHELF}/{KEY}/thesis.tex",
        f"weights/{'0' * 64}",
        "partial/notes.json",
        f"partial/{KEY}/thesis.tex",
        f"partial/{KEY}/photos/a.json",
        "tmp/thesis.json",
        "tmp/thesis/weights.safetensors",
        f"tmp/{LITTER}/thesis.tex",
        "leases/notes.json",
        "leases/.hidden",
        f"results/{SHELF}/notes.json",
    ]
    for place in places:
        (store.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (store.folder / place).write_text(place)
    aged(store.folder / "tmp")
    aged(store.folder / "leases")
    collect(store, everything=True)
    assert [(store.folder / place).read_text() for place in places] == places
    assert store.weights(KEY) is None
    assert store.intact(KEY)


def test_what_others_put_next_to_a_damaged_result_is_kept_aside(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    (store.folder / "results" / SHELF / KEY / "thesis.tex").write_text("years of work")
    spoil(store)
    store.remove(KEY)
    assert not store.has(KEY)
    [kept] = store.folder.glob("foreign/*/thesis.tex")
    assert kept.read_text() == "years of work"
    assert list(kept.parent.iterdir()) == [kept]
    assert not list((store.folder / "tmp").iterdir())


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_with_a_common_ending_next_to_a_result_is_kept_aside(
    tmp_path: Path, damaged: bool
) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    names = {"notes.json", "thesis.safetensors"}
    for name in names:
        (store.folder / "results" / SHELF / KEY / name).write_text("years of work")
    if damaged:
        spoil(store)
    store.remove(KEY)
    assert {path.name for path in store.folder.glob("foreign/*/*")} == names


def test_a_refused_removal_leaves_nothing_behind_the_link(tmp_path: Path, outside: Path) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    shutil.rmtree(store.folder / "tmp")
    (store.folder / "tmp").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(OutputError, match=r"a link or not a folder\. Put a folder in its place"):
        store.remove(KEY)
    assert sorted(outside.rglob("*")) == before
    assert store.intact(KEY)


@pytest.mark.parametrize("what", ["README.md", "ticket.json", "mask.safetensors"])
@pytest.mark.parametrize("kind", ["folder", "link", "alone"])
def test_a_ticket_replaces_nothing_but_a_ticket(tmp_path: Path, what: str, kind: str) -> None:
    target, mine = tmp_path / "ticket", tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    target.mkdir()
    files = {"ticket.json": b"{}", "mask.safetensors": b""}
    if kind != "alone":
        for name in files:
            (target / name).write_bytes(b"old")
    (target / what).unlink(missing_ok=True)
    if kind == "folder":
        shutil.copytree(mine, target / what)
    elif kind == "link":
        (target / what).symlink_to(mine / "thesis.tex")
    else:
        (target / what).write_text("mine")
    with pytest.raises(OutputError, match="Choose another folder"):
        write_folder(target, files, replaces=[*files, "README.md"])
    assert (target / what).exists()
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_a_file_is_written_through_a_link_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_bytes(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"1"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(tmp_path / "pipe", b"2")
    assert os.read(reader, 9) == b"2"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "place",
    [
        *("index.jsonl", f"leases/{KEY}.json", "leases/run-0123456789abcdef.json"),
        *(f"results/{SHELF}/{KEY}/result.json", f"results/{SHELF}/{KEY}/mask.safetensors"),
        f"weights/{SHELF}/{KEY}/weights.safetensors",
    ],
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_nothing_that_is_no_plain_file_holds_a_store_up(
    tmp_path: Path, place: str, make: Callable[[Path], None]
) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    path = store.folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    store.rows()
    list(damage_in(store))
    store.weights(KEY)
    store.wanted()
    store.holder(KEY)
    collect(store, everything=True)
    with suppress(OutputError):
        store.read(KEY)
    with suppress(OutputError):
        store.export(KEY)
    if "leases/run" not in place:
        with suppress(OutputError):
            assert store.claim(KEY) is not None or "leases" not in place
    assert path.exists()


def test_a_store_json_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "store.json")
    with pytest.raises(OutputError, match="Use another --store"):
        Store(tmp_path)


def test_verify_counts_results_and_not_complaints(tmp_path: Path, cli: Cli) -> None:
    store = Store(tmp_path / "store")
    for seed in range(3):
        store.save(result(seed), FILES)
    for name in FILES:
        (store.file(KEY, name)).unlink()
    where = ["--store", str(store.folder)]
    status, printed, _ = cli("store", "verify", *where)
    assert (status, printed.splitlines()[-1]) == (1, "1 of 3 results are damaged")
    spoil(store)
    (store.folder / "results" / "notes").touch()
    (store.folder / "weights").symlink_to(tmp_path)
    status, printed, _ = cli("store", "verify", *where)
    assert printed.splitlines()[-1] == "1 of 3 results are damaged, and 2 other things wrong"
    store.remove(KEY)
    (store.folder / "results" / "notes").unlink()
    (store.folder / "weights").unlink()
    shutil.rmtree(store.folder / "foreign", ignore_errors=True)
    status, printed, _ = cli("store", "verify", *where)
    assert (status, printed) == (0, "0 of 2 results are damaged\n")


def test_an_index_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.save(result(), FILES)
    store.rows()
    assert list(damage_in(store)) == []
    index = store.folder / "index.jsonl"
    index.write_text(index.read_text().replace('"score": 80.0', '"score": 99.0'))
    assert store.rows()[0]["score"] == 99
    [(name, what)] = damage_in(store)
    assert name == "index.jsonl"
    assert KEY[:12] in what
    index.unlink()
    assert store.rows()[0]["score"] == 80
    assert list(damage_in(store)) == []


def test_what_a_compressed_file_holds_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(b"x" * 1000))
    assert len(read_text(tmp_path / "train.csv.gz")) == 1000
    monkeypatch.setattr("tombola.tasks.data.utf8.LIMIT", 999)
    with pytest.raises(DataError, match="more than 999 bytes"):
        read_text(tmp_path / "train.csv.gz")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_no_other_reader_waits_for_a_pipe(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "fingerprints.json")
    assert damaged_fingerprints(tmp_path) == []
    make(tmp_path / "masks.pt")
    with pytest.raises(TombolaError):
        read_imported(tmp_path / "masks.pt")
    make(tmp_path / "train.csv")
    with pytest.raises(DataError, match="not a plain file"):
        read_text(tmp_path / "train.csv")
