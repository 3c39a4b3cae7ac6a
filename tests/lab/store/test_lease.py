"""One running process has a lease, whoever else wants it."""

import errno
import json
import os
import secrets
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from processes import SPAWN, dead, together
from tombola.lab.store import lease, process
from tombola.lab.store.lease import Lease, claim, holder, sweep
from tombola.lab.store.process import Process


def far() -> Process:
    """A process on another machine."""
    return Process("elsewhere", "0a1b2c3d.4026531836", os.getpid(), 1)


def left(path: Path, owner: Process) -> Path:
    """The lease of another process, written atomically."""
    said = {"token": secrets.token_hex(8), **asdict(owner), "since": 1.0, "progress": {}}
    temporary = path.with_name(f"temporary-{os.getpid()}")
    temporary.write_text(json.dumps(said))
    return temporary.replace(path)


def silent(path: Path) -> Path:
    """Nobody has written it for long."""
    before = time.time() - lease.SILENCE - 60
    os.utime(path, (before, before))
    return path


def claim_all(paths: list[Path]) -> list[bool]:
    kept = [claim(path) for path in paths]
    return [one is not None for one in kept]


# --- one at a time -----------------------------------------------------------


def test_a_lease_is_given_once_and_again_after_its_release(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    first = claim(path)
    assert first is not None
    assert claim(path) is None
    first.release()
    first.release()
    assert list(tmp_path.iterdir()) == []
    with claim(path) or pytest.fail("free") as second:
        assert claim(path) is None
        assert not second.lost
    assert list(tmp_path.iterdir()) == []


def test_of_eight_processes_exactly_one_gets_each_lease(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.json" for number in range(20)]
    won = together(8, claim_all, paths)
    assert [sum(mine) for mine in zip(*won, strict=True)] == [1] * len(paths)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_of_eight_processes_exactly_one_takes_over_each_stale_lease(tmp_path: Path) -> None:
    gone = dead()
    paths = [left(tmp_path / f"{number}.json", gone) for number in range(20)]
    won = together(8, claim_all, paths)
    assert [sum(mine) for mine in zip(*won, strict=True)] == [1] * len(paths)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def _hold(path: Path, ready: Any) -> None:
    with claim(path) or pytest.fail("free"):
        ready.set()
        time.sleep(600)


def test_exactly_one_takes_over_from_a_killed_process(tmp_path: Path) -> None:
    path, ready = tmp_path / "a.json", SPAWN.Event()
    process = SPAWN.Process(target=_hold, args=(path, ready))
    process.start()
    assert ready.wait(120)
    assert claim(path) is None
    assert (holder(path) or {})["pid"] == process.pid
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet asked how
    assert holder(path) is None
    won = together(8, claim_all, [path])
    assert sorted(mine for [mine] in won) == [False] * 7 + [True]
    process.join()


def _churn(path: Path, gone: Process, rounds: int) -> int:
    """Claim, and then release or die, again and again; how often two have had the lease."""
    marker, both = path.with_name("marker"), 0
    for number in range(rounds):
        mine = claim(path)
        if mine is None:
            continue
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            both += 1
        else:
            marker.unlink()
        if number % 2:
            mine.release()
        else:
            left(path, gone)
            mine.close()
    return both


def test_no_two_processes_hold_a_lease_while_holders_come_and_go(tmp_path: Path) -> None:
    assert together(4, _churn, tmp_path / "a.json", dead(), 300) == [0] * 4


# --- who is alive ------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_process_number_that_is_used_again_is_another_process() -> None:
    here = Process.here()
    assert here.gone() is False
    assert replace(here, started=here.started - 1).gone() is True
    assert dead().gone() is True
    assert replace(here, pid=2**80).gone() is True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_start_is_the_number_that_every_version_has_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Process.here()
    assert here.started == int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600)  # the clock was set
    assert Process.here() == here
    assert here.gone() is False


def test_a_lease_without_a_start_is_not_taken_from_a_living_process() -> None:
    assert replace(Process.here(), started=0).gone() is None
    assert replace(dead(), started=0).gone() is True


def test_a_process_elsewhere_can_not_be_asked() -> None:
    here = Process.here()
    assert far().gone() is None
    assert replace(here, machine="another.1").gone() is None


def test_where_the_system_tells_no_start_only_the_heartbeat_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_started", lambda pid: None)
    path = tmp_path / "a.json"
    mine = claim(path)
    assert mine is not None
    assert claim(path) is None
    silent(path)
    assert claim(path) is not None
    left(path, dead())
    assert claim(path) is not None


def test_names_of_processes_are_read_back() -> None:
    for one in (Process.here(), far(), replace(far(), host="a-host-with-dashes")):
        assert Process.named(f"{one.name}-0a1b") == one
    for strange in ("", "token-0a1b", "a-b-c-d-e"):
        assert Process.named(strange) is None


def test_a_lease_of_another_machine_is_taken_over_only_after_a_silence(tmp_path: Path) -> None:
    path = left(tmp_path / "a.json", far())
    assert claim(path) is None
    assert (holder(path) or {})["host"] == "elsewhere"
    silent(path)
    assert holder(path) is None
    assert claim(path) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"token": "../x", "pid": "1"}'])
def test_a_damaged_lease_is_taken_over_after_a_silence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert claim(path) is None
    silent(path)
    with claim(path) or pytest.fail("free"):
        assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_who_died_while_taking_over_does_not_block_the_next(tmp_path: Path) -> None:
    gone = dead()
    path = left(tmp_path / "a.json", gone)
    token = json.loads(path.read_bytes())["token"]
    left(tmp_path / f"a.json.{token}", gone)
    with claim(path) or pytest.fail("free"):
        assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_who_takes_over_now_is_left_alone(tmp_path: Path) -> None:
    path = left(tmp_path / "a.json", dead())
    token = json.loads(path.read_bytes())["token"]
    with claim(tmp_path / f"a.json.{token}") or pytest.fail("free"):
        assert claim(path) is None
    assert claim(path) is not None


# --- signs of life -----------------------------------------------------------


def test_progress_is_shown_and_written_only_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = claim(tmp_path / "a.json")
    assert mine is not None
    mine.beat({"done": 1000, "steps": 1234})
    mine.beat({"done": 1001, "steps": 1234})
    found = holder(mine.path)
    assert found is not None
    assert found["progress"] == {"done": 1000, "steps": 1234}
    assert found["pid"] == os.getpid()
    assert found["since"] <= found["beat"]
    monkeypatch.setattr(lease, "BEAT", 0.0)
    mine.beat({"done": 2})  # shorter than what is there
    assert (holder(mine.path) or {})["progress"] == {"done": 2}


def test_a_held_lease_gives_signs_of_life_by_itself_until_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HOLD", 0.01)
    with claim(tmp_path / "a.json") or pytest.fail("free") as mine:
        before = silent(mine.path).stat().st_mtime
        while mine.path.stat().st_mtime == before:
            time.sleep(0.01)
        thread = mine._thread
    assert thread is not None
    assert not thread.is_alive()


@pytest.mark.parametrize("there", [True, False])
def test_a_lost_lease_is_noticed_and_the_new_one_is_not_touched(
    tmp_path: Path, there: bool
) -> None:
    path = tmp_path / "a.json"
    mine = claim(path)
    assert mine is not None
    theirs = left(path, far()).read_bytes()
    if not there:
        path.unlink()
    mine.beat({"done": 1})
    assert mine.lost
    mine.release()
    assert path.exists() == there
    assert not there or path.read_bytes() == theirs


def test_a_full_disk_stops_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = claim(tmp_path / "a.json")
    assert mine is not None

    def full(self: Lease) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Lease, "_write", full)
        mine.beat({"done": 1})
        assert not mine.lost
        with pytest.raises(OSError, match="No space"):
            claim(tmp_path / "b.json")
        mine.release()
    assert list(tmp_path.iterdir()) == []


# --- file systems ------------------------------------------------------------


def test_where_there_are_no_links_a_lease_is_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.json"
    with claim(path) or pytest.fail("free") as mine:
        assert lease._take(path) is None
        mine.beat({"done": 1})
        assert (holder(path) or {})["progress"] == {"done": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_link_whose_reply_is_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def repeated(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", repeated)
    assert claim(tmp_path / "a.json") is not None


def test_sweeping_removes_what_the_dead_have_left_and_nothing_else(tmp_path: Path) -> None:
    gone = dead()
    left(tmp_path / "a.json", gone)
    left(tmp_path / "a.json.0123", gone)
    left(tmp_path / ".4567", gone)
    left(tmp_path / "b.json", far())
    silent(left(tmp_path / "c.json", far()))
    mine = claim(tmp_path / "d.json")
    assert mine is not None
    assert sweep(tmp_path) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"b.json", "d.json"}
    assert sweep(tmp_path / "none") == 0
