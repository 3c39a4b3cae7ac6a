"""What is in a store is whole, whoever writes it, dies, fills the disk or damages it."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from processes import dead, loaded_after, together
from tombola.base import keys
from tombola.base.errors import OutputError
from tombola.base.specs import PruneSpec
from tombola.lab.store.damage import damage_in
from tombola.lab.store.garbage import collect
from tombola.lab.store.process import Process
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.identity import NetworkIdentity
from tombola.plan.job import Job
from tombola.plan.job_spec import GivenMask, PruneJobSpec

FILES = {"mask.safetensors": b"\x00\x01\x02" * 50, "shapes.json": b"{}"}


def result(seed: int = 0, **changed: Any) -> Result:
    """The training of one seed."""
    spec = {"model": "0a" * 32, "train": {"seed": seed}, "init": "reinit"}
    made: dict[str, Any] = {"kind": "train", "job_version": 1, "spec": spec, "parents": {}}
    made |= changed
    named = keys.key(made["kind"], made["job_version"], **made["spec"], parents=made["parents"])
    rest = {
        "label": f"sentiment, seed {seed}",
        "facts": {"task": "sentiment", "seed": seed, "score": 80.0 + seed, "loss": [0.5, 0.25]},
        "numerics": {"threads": 1},
        "seconds": 1.5,
        "peak_memory": 2**30,
    }
    return Result(**{"key": named, **rest, **made})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / "tmp").glob("*"))


def place(store: Store, key: str) -> Path:
    return store.folder / "results" / key[:2] / key


# --- saving ------------------------------------------------------------------


def test_what_is_saved_is_read_back_under_its_key(store: Store) -> None:
    one = result()
    assert not store.has(one.key)
    assert store.read(one.key) is None
    assert not store.intact(one.key)
    kept = store.save(one, FILES)
    assert store.has(one.key)
    assert store.intact(one.key)
    assert Store(store.folder).read(one.key) == kept
    assert kept.sizes == {"mask.safetensors": 150, "shapes.json": 2}
    assert replace(kept, files={}, sizes={}) == one
    assert store.file(one.key, "mask.safetensors").read_bytes() == FILES["mask.safetensors"]
    assert place(store, one.key).is_dir()
    assert list(damage_in(store)) == []
    assert leftovers(store) == []


def test_a_result_that_is_there_stays(store: Store) -> None:
    first = store.save(result(), FILES)
    again = store.save(replace(result(), seconds=99.0), FILES)
    assert again == first
    assert leftovers(store) == []


def test_saving_removes_the_checkpoint(store: Store) -> None:
    one = result()
    for _ in range(2):
        store.partial(one.key).mkdir(parents=True)
        (store.partial(one.key) / "state.safetensors").touch()
        store.save(one, FILES)
        assert not store.partial(one.key).exists()


def test_a_key_that_does_not_fit_is_a_bug(store: Store) -> None:
    with pytest.raises(ValueError, match="its key"):
        store.save(replace(result(), job_version=2), FILES)
    for strange in ("", "../../x", "0" * 63, "G" * 64):
        with pytest.raises(ValueError, match="64 hexadecimal"):
            store.remove(strange)
    with pytest.raises(ValueError, match="files that it may not have"):
        store.save(result(), {"../x": b""})


def test_numbers_that_json_does_not_know_become_none(store: Store) -> None:
    facts = {"score": float("nan"), "loss": (1.0, float("inf")), "deep": {"a": float("-inf")}}
    kept = store.save(result(facts=facts), {})
    assert kept.facts == {"score": None, "loss": [1.0, None], "deep": {"a": None}}
    assert store.read(kept.key) == kept


def test_what_is_known_of_a_job_is_saved_as_its_result(store: Store) -> None:
    half, network = PruneSpec(sparsity=Decimal("0.5")), NetworkIdentity(model="1b" * 32)
    spec = GivenMask(prune=half, digest="0a" * 32, network=network)
    subject: Any = None
    job = Job(spec=spec, parents={}, subject=subject, label="a mask")
    like = PruneJobSpec(prune=half, scores="random")
    child = Job(spec=like, parents={"like": job}, subject=subject, label="another")
    for one in (job, child):
        kept = store.save(Result.of(one, {"dead": 3}), FILES)
        assert (kept.key, kept.label, kept.facts) == (one.key, one.label, {"dead": 3})
    assert kept.parents == {"like": job.key}


def _save(path: Path, seed: int) -> bool:
    store = Store(path)
    return store.save(result(seed), FILES) == store.read(result(seed).key)


def test_eight_processes_save_the_same_result_and_all_succeed(tmp_path: Path) -> None:
    assert together(8, _save, tmp_path / "store", 0) == [True] * 8
    store = Store(tmp_path / "store")
    assert [row["key"] for row in store.rows()] == [result().key]
    assert list(damage_in(store)) == []
    assert leftovers(store) == []


@pytest.mark.parametrize("moment", range(1, 8))
def test_who_dies_while_saving_leaves_all_or_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    one, count = result(), iter(range(1, 99))

    def die(path: Path) -> None:
        if next(count) == moment:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tombola.lab.store.disk.sync", die)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        with suppress(KeyboardInterrupt):
            store.save(one, FILES)
    assert list(damage_in(store)) == []
    assert store.intact(one.key) == store.has(one.key) == (moment > 5)
    assert store.save(one, FILES) == store.read(one.key)


def test_rubbish_where_a_result_belongs_is_replaced(store: Store) -> None:
    one = result()
    store.save(one, FILES)
    (place(store, one.key) / "result.json").unlink()
    assert not store.has(one.key)
    assert [what for _, what in damage_in(store)] == ["result.json is missing"]
    store.save(one, FILES)
    assert store.intact(one.key)


# --- the folder --------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: path.write_text("x"), "a file"),
        (lambda path: (path / "notes").mkdir(parents=True), "a folder with notes"),
        (lambda path: _about(path, "[]"), "a store.json of something else"),
        (lambda path: _about(path, "{"), "a store.json of something else"),
        (lambda path: _about(path, '{"format": "x", "version": 1}'), "of something else"),
        (lambda path: _about(path, '{"format": "tombola-store", "version": 2}'), "got 2. Update"),
    ],
)
def test_whatever_is_no_store_of_this_version_is_refused(
    tmp_path: Path, made: Callable[[Path], None], said: str
) -> None:
    made(tmp_path / "store")
    with pytest.raises(OutputError, match=said) as error:
        Store(tmp_path / "store")
    assert "\n" not in str(error.value)


def _about(path: Path, text: str) -> None:
    path.mkdir()
    (path / "store.json").write_text(text)


def test_an_empty_folder_or_one_that_is_just_becoming_a_store_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".store.json.0a1b").touch()
    Store(str(tmp_path))
    assert json.loads((tmp_path / "store.json").read_bytes()) == {
        "format": "tombola-store",
        "version": 1,
    }
    Store(tmp_path)


# --- a disk that refuses -----------------------------------------------------


def refuse(code: int, after: int = 0) -> Callable[..., None]:
    count = iter(range(99))

    def raise_it(*_: Any, **__: Any) -> None:
        if next(count) >= after:
            raise OSError(code, os.strerror(code))

    return raise_it


@pytest.mark.parametrize("after", range(6))
def test_a_full_disk_is_reported_in_one_line_and_leaves_a_store(
    store: Store, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse(errno.ENOSPC, after))
        with pytest.raises(OutputError, match=r"No space left.*`tombola store gc --store") as error:
            store.save(result(), FILES)
    assert "\n" not in str(error.value)
    assert leftovers(store) == []
    assert list(damage_in(store)) == []
    assert store.has(result().key) == store.intact(result().key) == (after == 5)
    assert store.save(result(), FILES)


def test_a_disk_that_is_full_for_safetensors_is_reported_in_the_same_way(store: Store) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OutputError, match=r"weights.*No space left.*`tombola store gc --store"):
        store.save_weights(result().key, write)
    assert store.weights(result().key) is None
    assert leftovers(store) == []


@pytest.fixture
def fixed(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with one result, weights, and a lease, on a disk that can only be read."""
    store.save(result(), FILES)
    store.save_weights(result().key, put(b"w"))
    (store.folder / "leases").mkdir()
    make, open_ = os.mkdir, os.open

    def mkdir(path: Any, *rest: Any) -> None:
        refuse(errno.EEXIST if os.path.exists(path) else errno.EROFS)()
        make(path, *rest)

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            refuse(errno.EROFS)()
        return open_(path, flags, *rest, **named)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "unlink", refuse(errno.EROFS))
    return store


def test_a_store_that_can_only_be_read_is_read(fixed: Store) -> None:
    one = result()
    store = Store(fixed.folder)
    assert store.has(one.key)
    assert store.intact(one.key)
    assert store.read(one.key) is not None
    assert [row["key"] for row in store.rows(task="sentiment")] == [one.key]
    assert not (store.folder / "index.jsonl").exists()
    assert store.weights(one.key) is not None
    assert store.holder(one.key) is None
    assert list(damage_in(store)) == []
    assert set(store.export(one.key)) == {"result.json", *FILES}


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.save(result(1), FILES),
        lambda store: store.adopt(store.export(result().key) if store else {}),
        lambda store: store.save_weights(result(1).key, lambda path: None),
        lambda store: store.claim(result(1).key),
        lambda store: store.remove(result().key),
        lambda store: store.drop_weights(result().key),
        collect,
    ],
)
def test_writing_where_only_reading_is_possible_gives_one_line(
    fixed: Store, write: Callable[[Store], Any]
) -> None:
    with pytest.raises(OutputError, match=r"Read-only file system.*Use a --store") as error:
        write(fixed)
    assert "\n" not in str(error.value)
    assert fixed.intact(result().key)


# --- damage ------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def score(path: Path) -> None:
    text = (path / "result.json").read_text()
    (path / "result.json").write_text(text.replace('"score": 80.0', '"score": 90.0'))


def newer(path: Path) -> None:
    text = (path / "result.json").read_text()
    (path / "result.json").write_text(text.replace('_version": 1', '_version": 2', 1))


def swap(path: Path) -> None:
    shutil.copy(path.parents[1] / result(1).key[:2] / result(1).key / "result.json", path)


DAMAGES: Mapping[str, tuple[Callable[[Path], Any], str, bool, bool]] = {
    # what is done, what is said of it, whether it is read, whether it seems intact
    "flipped": (lambda p: flip(p / "mask.safetensors", 7), "mask.safetensors is not", True, False),
    "short": (
        lambda p: (p / "shapes.json").write_bytes(b"{"),
        "has 1 bytes, expected 2",
        True,
        False,
    ),
    "missing": (lambda p: (p / "shapes.json").unlink(), "shapes.json is missing", True, False),
    "more": (lambda p: (p / "notes").touch(), "notes is unknown", True, True),
    "cut": (lambda p: os.truncate(p / "result.json", 99), "is not a JSON object", False, False),
    "list": (lambda p: (p / "result.json").write_text("[]"), "is not a JSON object", False, False),
    "empty": (lambda p: (p / "result.json").write_text("{}"), "not what was written", False, False),
    "score": (score, "result.json is not what was written", False, False),
    "swapped": (swap, "it is the result", False, False),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_mended_by_doing_the_job_again(store: Store, damage: str) -> None:
    one = result()
    store.save(one, FILES)
    store.save(result(1), FILES)
    spoil, said, is_read, intact = DAMAGES[damage]
    spoil(place(store, one.key))
    [(key, what)] = damage_in(store)
    assert key == one.key
    assert said in what
    assert store.has(one.key)
    assert store.intact(one.key) == intact
    if not is_read:
        with pytest.raises(OutputError, match=r"`tombola store verify --store .*`") as error:
            store.read(one.key)
        assert "\n" not in str(error.value)
    store.remove(one.key)
    assert not store.has(one.key)
    store.save(one, FILES)
    assert list(damage_in(store)) == []
    assert leftovers(store) == []


def test_every_flipped_byte_of_a_result_json_is_noticed(store: Store) -> None:
    one = result()
    store.save(one, {})
    about = place(store, one.key) / "result.json"
    for at in range(0, about.stat().st_size - 1, 7):
        flip(about, at)
        assert [key for key, _ in damage_in(store)] == [one.key]
        flip(about, at)


def test_a_result_of_a_newer_program_is_refused_and_not_taken_for_damage(store: Store) -> None:
    one = result()
    store.save(one, FILES)
    newer(place(store, one.key))
    for ask in (store.read, store.intact):
        with pytest.raises(OutputError, match="Update tombola"):
            ask(one.key)
    assert [what for _, what in damage_in(store)] == [
        "expected a result of format 1, got 2. Update tombola."
    ]
    assert store.rows() == []


def test_what_does_not_belong_into_a_store_is_named(store: Store) -> None:
    one = result()
    store.save(one, FILES)
    results = store.folder / "results"
    (results / "notes.txt").touch()
    (results / "abc").mkdir()
    (results / one.key[:2] / "notes").mkdir()
    other = "00" if one.key[:2] != "00" else "01"
    shutil.copytree(place(store, one.key), results / other / one.key)
    assert sorted(name for name, _ in damage_in(store)) == sorted(
        ["abc", "notes", "notes.txt", one.key]
    )


# --- export and adopt --------------------------------------------------------


def test_a_result_goes_to_another_store_and_back_unchanged(store: Store, tmp_path: Path) -> None:
    one = store.save(result(), FILES)
    files = store.export(one.key)
    far = Store(tmp_path / "far")
    assert far.adopt(files) == far.adopt(files) == one.key
    assert far.read(one.key) == one
    assert far.export(one.key) == files
    assert store.adopt(far.export(one.key)) == one.key
    assert list(damage_in(far)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"mask.safetensors": b"other"},
        {"more": b""},
        {"../more": b""},
        {"result.json": b"{"},
        {"mask.safetensors": None},
        {"result.json": None},
    ],
)
def test_a_result_that_is_damaged_on_the_way_is_refused(
    store: Store, tmp_path: Path, change: dict[str, bytes | None]
) -> None:
    store.save(result(), FILES)
    sent = {**store.export(result().key), **change}
    far = Store(tmp_path / "far")
    with pytest.raises(OutputError, match="Send it again") as error:
        far.adopt({name: content for name, content in sent.items() if content is not None})
    assert "\n" not in str(error.value)
    assert not far.has(result().key)
    assert {path.name for path in far.folder.iterdir()} == {"store.json"}


def test_only_a_whole_result_is_exported(store: Store) -> None:
    with pytest.raises(OutputError, match="got: nothing"):
        store.export(result().key)
    store.save(result(), FILES)
    store.file(result().key, "shapes.json").unlink()
    with pytest.raises(OutputError, match=r"shapes\.json"):
        store.export(result().key)


# --- index -------------------------------------------------------------------


def test_rows_are_flat_sorted_and_filtered(store: Store) -> None:
    for seed in range(5):
        store.save(result(seed), FILES)
    spec = {"scores": "magnitude", "sparsity": "0.5", "of": "pretrained"}
    store.save(result(kind="prune", spec=spec, facts={"dead": 3, "digest": "0a"}), {})
    rows = store.rows()
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    assert len(rows) == 6
    [row] = store.rows(kind="train", seed=3)
    made = place(store, row["key"]).stat().st_mtime_ns
    assert row == {
        "key": result(3).key,
        "kind": "train",
        "label": "sentiment, seed 3",
        "model": "0a" * 32,
        "init": "reinit",
        "task": "sentiment",
        "seed": 3,
        "score": 83.0,
        "seconds": 1.5,
        "peak_memory": 2**30,
        "stored_ns": made,
    }
    assert [row["sparsity"] for row in store.rows(kind="prune")] == ["0.5"]
    assert store.rows(task="topics") == []


def test_only_what_the_index_lacks_is_read_and_it_is_written_only_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = Store.decoded, list[str]()

    def counted(self: Store, key: str) -> Result | None:
        asked.append(key)
        return read(self, key)

    monkeypatch.setattr(Store, "decoded", counted)
    store.save(result(0), {})
    store.save(result(1), {})
    asked.clear()
    first = store.rows()
    assert sorted(asked) == sorted([result(0).key, result(1).key])
    written = (store.folder / "index.jsonl").stat().st_ino
    asked.clear()
    assert Store(store.folder).rows() == first
    assert asked == []
    assert (store.folder / "index.jsonl").stat().st_ino == written
    store.save(result(2), {})
    asked.clear()
    assert len(store.rows()) == 3
    assert asked == [result(2).key]
    store.remove(result(1).key)
    asked.clear()
    assert {row["seed"] for row in store.rows()} == {0, 2}
    assert asked == []
    assert leftovers(store) == []


def test_a_result_that_was_made_again_has_a_new_row(store: Store) -> None:
    store.save(result(), {})
    assert store.rows()[0]["seconds"] == 1.5
    store.remove(result().key)
    store.save(replace(result(), seconds=2.5), {})
    assert store.rows()[0]["seconds"] == 2.5


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace("version", "Version", 1),
        lambda text: text.replace('"key"', '"kez"'),
        lambda text: text.replace("\n", "\n1\n"),
        lambda text: text.replace("}\n", "},{}\n"),
        lambda text: None,
    ],
)
def test_a_damaged_or_missing_index_is_built_anew(
    store: Store, damage: Callable[[str], str | None]
) -> None:
    for seed in range(3):
        store.save(result(seed), {})
    index, rows = store.folder / "index.jsonl", store.rows()
    text = index.read_text()
    spoilt = damage(text)
    index.unlink()
    if spoilt is not None:
        index.write_text(spoilt)
    assert store.rows() == rows
    assert index.read_text() == text


def _rows_and_saves(path: Path, number: int) -> int:
    store = Store(path)
    for seed in range(number):
        store.save(result(seed), {})
        store.rows()
    return len(store.rows())


def test_eight_processes_create_fill_and_index_one_store_at_once(tmp_path: Path) -> None:
    assert together(8, _rows_and_saves, tmp_path / "store", 6) == [6] * 8
    store = Store(tmp_path / "store")
    rows = store.rows()
    (store.folder / "index.jsonl").unlink()
    assert store.rows() == rows
    assert leftovers(store) == []


# --- weights -----------------------------------------------------------------


def put(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def test_weights_are_kept_once_and_dropped(store: Store) -> None:
    key = result().key
    assert store.weights(key) is None
    store.drop_weights(key)
    assert store.save_weights(key, put(b"first")) == store.weights(key)
    assert store.save_weights(key, put(b"second")).read_bytes() == b"first"
    store.drop_weights(key)
    assert store.weights(key) is None
    assert store.save_weights(key, put(b"third")).read_bytes() == b"third"
    assert leftovers(store) == []


def test_weights_that_could_not_be_written_leave_nothing(store: Store) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise TypeError("no tensor")

    with pytest.raises(TypeError, match="no tensor"):
        store.save_weights(result().key, fail)
    with pytest.raises(OutputError, match="No such file"):
        store.save_weights(result().key, lambda path: None)
    assert store.weights(result().key) is None
    assert leftovers(store) == []


# --- who is at what, and tidying ---------------------------------------------


def test_one_lease_for_each_job(store: Store) -> None:
    key = result().key
    assert store.holder(key) is None
    with store.claim(key) or pytest.fail("free") as mine:
        mine.beat({"done": 1, "steps": 9})
        assert store.claim(key) is None
        with store.claim(result(1).key) or pytest.fail("free"):
            pass
        found = store.holder(key)
        assert found is not None
        assert (found["pid"], found["progress"]) == (os.getpid(), {"done": 1, "steps": 9})
    assert store.holder(key) is None


def test_collecting_removes_what_can_be_made_again_and_nothing_else(store: Store) -> None:
    finished, begun, busy = (result(seed).key for seed in range(3))
    kept = store.save(result(), FILES)
    store.save_weights(finished, put(b"12345"))
    for key in (finished, begun, busy):
        store.partial(key).mkdir(parents=True)
        (store.partial(key) / "state.safetensors").write_bytes(b"123")
    litter = store.folder / "tmp"
    for name, seconds in {
        f"{dead().name}-0a1b": 0,
        f"{Process.here().name}-0a1b": 7200,
        "elsewhere-0a1b.2-3-4-5": 0,
        "elsewhere-0a1b.2-3-4-6": 7200,
        "token-0a1b": 7200,
    }.items():
        (litter / name).mkdir()
        before = (litter / name).stat().st_mtime - seconds
        os.utime(litter / name, (before, before))
    (store.folder / "leases").mkdir()
    (store.folder / "leases" / f"{begun}.json").write_text(
        json.dumps({"token": "0a", **vars(dead())})
    )
    with store.claim(busy) or pytest.fail("free"):
        assert collect(store) == {"weights": 1, "tmp": 3, "partial": 1, "leases": 1, "bytes": 8}
        alive = f"{Process.here().name}-0a1b"
        assert leftovers(store) == sorted([alive, "elsewhere-0a1b.2-3-4-5"])
        assert collect(store)["bytes"] == 0
        assert store.partial(begun).exists()
        assert collect(store, everything=True)["partial"] == 1
        assert store.partial(busy).exists()
    assert store.read(finished) == kept
    assert list(damage_in(store)) == []


def test_collecting_an_empty_store_frees_nothing(store: Store) -> None:
    assert not any(collect(store).values())
    assert {path.name for path in store.folder.iterdir()} == {"store.json"}


def test_the_store_needs_no_heavy_library() -> None:
    heavy = {"torch", "numpy", "transformers", "safetensors"}
    assert not heavy & loaded_after("import tombola.lab.store.result_store")
