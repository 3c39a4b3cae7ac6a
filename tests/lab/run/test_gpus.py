"""Workers share the GPUs evenly, see no other, and one that wants more than its share says so."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tombola.base.errors import SpecError, TombolaError
from tombola.lab.run import memory
from tombola.lab.run.memory import fitting, memory_share, within_memory
from tombola.lab.run.workers import gpus, ray_cluster
from tombola.lab.run.workers import local as local_workers
from tombola.lab.run.workers.gpus import (
    WorkerGpus,
    places,
    ray_gpus,
    seeing,
    sharers_of_a_gpu,
    visible_gpus,
)
from tombola.lab.run.workers.local import ProcessPool
from tombola.lab.run.workers.ray_cluster import RayCluster
from tombola.lab.store.result_store import Store

GIB = 1 << 30
counts = st.integers(min_value=1, max_value=40)


def test_workers_go_round_robin_over_the_gpus() -> None:
    assert places(5, ["0", "1"]) == [
        *(WorkerGpus(("0",), 3), WorkerGpus(("1",), 2)),
        *(WorkerGpus(("0",), 3), WorkerGpus(("1",), 2), WorkerGpus(("0",), 3)),
    ]
    assert places(2, ["0", "1", "2"]) == [WorkerGpus(("0",)), WorkerGpus(("1",))]


def test_without_a_gpu_workers_have_none() -> None:
    assert places(2, [], processes=2) == [WorkerGpus(), WorkerGpus()]


def test_each_process_of_a_training_has_its_own_gpu() -> None:
    found = places(3, ["0", "1", "2", "3", "4"], processes=2)
    assert found == [WorkerGpus(("0", "1"), 2), WorkerGpus(("2", "3")), WorkerGpus(("0", "1"), 2)]


@given(workers=counts, cards=counts, processes=st.integers(min_value=1, max_value=3))
def test_sharers_are_those_that_were_placed_there(workers: int, cards: int, processes: int) -> None:
    if processes > cards:
        return
    found = places(workers, [str(number) for number in range(cards)], processes=processes)
    assert len(found) == workers
    for place in found:
        assert len({*place.gpus}) == processes
        assert place.sharers == sum(other.gpus == place.gpus for other in found)
    seats = [place.sharers for place in found]
    assert max(seats) - min(seats) <= 1


@pytest.mark.parametrize(("processes", "gpus", "said"), [(2, 1, "the GPU"), (4, 3, "the GPUs")])
def test_processes_that_would_share_a_gpu_are_refused(processes: int, gpus: int, said: str) -> None:
    expected = (
        f"expected a GPU for each of {processes} processes, got {gpus}. Use --processes {gpus}, "
        f"or --workers {processes} to share {said} among trainings."
    )
    names = [str(number) for number in range(gpus)]
    for refused in (
        lambda: places(1, names, processes=processes),
        lambda: ray_gpus(0, gpus, processes=processes),
    ):
        with pytest.raises(SpecError) as caught:
            refused()
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("setting", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("3,1", 2, ["3", "1"]),
        ("GPU-0f1e, GPU-2d3c", 2, ["GPU-0f1e", "GPU-2d3c"]),
        ("2,-1,0", 1, ["2"]),  # what follows an invalid name is not visible
        ("", 0, []),
    ],
)
def test_gpus_have_the_names_that_the_environment_gives_them(
    setting: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if setting is None:
        monkeypatch.delenv(gpus.VISIBLE, raising=False)
    else:
        monkeypatch.setenv(gpus.VISIBLE, setting)
    assert visible_gpus() == names


@pytest.mark.parametrize("before", [None, "3,GPU-0f1e"])
def test_what_is_visible_is_set_for_new_processes_only(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    if before is not None:
        monkeypatch.setenv(gpus.VISIBLE, before)
    with seeing(["GPU-0f1e"]):
        assert os.environ[gpus.VISIBLE] == "GPU-0f1e"
    with seeing([]):
        assert os.environ.get(gpus.VISIBLE) == before
    assert os.environ.get(gpus.VISIBLE) == before


def _tell_place(pipe: Any, folder: str, sharers: int) -> None:
    pipe.send((os.environ.get(gpus.VISIBLE), sharers))


def test_a_worker_is_started_in_its_place_and_so_is_the_one_that_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "work", _tell_place)
    pool = ProcessPool(Store(tmp_path / "store"), 3, gpus=["GPU-a", "GPU-b"])
    told = [pool._start_worker().pipe.recv() for _ in range(3)]
    assert told == [("GPU-a", 2), ("GPU-b", 1), ("GPU-a", 2)]
    pool._workers.pop(1).process.join()
    assert pool._start_worker().pipe.recv() == ("GPU-b", 1)
    pool.close()
    assert not multiprocessing.active_children()


# --- Ray ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "cards", "processes", "asked"),
    [
        *((4, 0, 1, 0), (1, 2, 1, 1), (2, 2, 1, 1), (0, 2, 1, 1)),
        *((8, 1, 1, 0.125), (5, 2, 1, 0.3333), (6, 1, 1, 0.1666)),
        *((1, 2, 2, 2), (8, 4, 2, 2), (4, 0, 2, 0)),
    ],
)
def test_a_job_asks_ray_for_its_part_of_a_gpu(
    workers: int, cards: int, processes: int, asked: float
) -> None:
    assert ray_gpus(workers, cards, processes=processes) == asked


@given(workers=counts, cards=counts)
def test_all_workers_fit_on_the_gpus_of_a_cluster(workers: int, cards: int) -> None:
    asked, sharers = ray_gpus(workers, cards), sharers_of_a_gpu(workers, cards)
    assert round(asked * 10_000) * sharers <= 10_000
    assert sharers * cards >= workers


# --- memory -----------------------------------------------------------------------


class _Nodes:
    """Ray on nodes with these cores and GPUs; the last one has gone."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self.there = [{"Alive": True, "Resources": node} for node in nodes]

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [*self.there, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, **_: Any) -> Callable[..., Any]:
        return lambda function: function


@pytest.mark.parametrize(
    ("nodes", "asked", "at_once"),
    [
        (({"CPU": 4.0},) * 4, {"threads": 4}, 4),
        (({"CPU": 6.0},) * 4, {"threads": 4}, 4),  # 24 cores, but no six with four each
        (({"CPU": 4.0}, {"CPU": 2.0}), {"threads": 1, "processes": 2}, 3),
        (({"CPU": 8.0, "GPU": 1.0}, {"CPU": 32.0}), {"threads": 4}, 1),
        (({"CPU": 4.0},) * 4, {"threads": 16}, "with 16 cores for each training, got 4 at most"),
        (({"CPU": 4.0},), {"threads": 3, "processes": 2, "workers": 1}, "Lower --threads or"),
        (({"CPU": 2.0, "GPU": 1.0}, {"CPU": 8.0}), {"threads": 4}, "4 cores and GPUs for each"),
    ],
)
def test_a_cluster_has_room_node_by_node(
    nodes: tuple[dict[str, float], ...],
    asked: dict[str, int],
    at_once: int | str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_cluster, "_ray", lambda: _Nodes(*nodes))
    wanted = {"workers": 0, "processes": 1, **asked}
    if isinstance(at_once, str):
        with pytest.raises(SpecError, match=at_once):
            RayCluster(Store(tmp_path / "s"), address="", **wanted)
    else:
        assert RayCluster(Store(tmp_path / "s"), address="", **wanted).free_slots == at_once


@given(st.integers(min_value=1, max_value=200 * GIB), st.integers(min_value=1, max_value=64))
def test_shares_together_leave_room_for_cuda(size: int, sharers: int) -> None:
    share = memory_share(size, sharers)
    assert share * sharers <= size
    assert sharers == 1 or size // sharers - share <= GIB


@given(
    st.integers(min_value=GIB, max_value=200 * GIB), st.integers(min_value=1, max_value=GIB * 90)
)
def test_as_many_trainings_fit_as_have_a_share_that_is_large_enough(size: int, taken: int) -> None:
    number = fitting(size, taken)
    assert number == 1 or memory_share(size, number) >= taken


def _too_much() -> None:
    tensors = torch.zeros(1000)
    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(tensors)} GiB.")


def _no_room_for_cublas() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def _no_room_for_a_graph() -> None:
    try:
        _too_much()
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def _no_room_on_a_cpu() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def _no_room_for_python() -> None:
    bytes(1 << 60)


@pytest.mark.parametrize(
    ("job", "room"),
    [
        (_too_much, "the memory of its device"),
        (_no_room_for_cublas, "the memory of its device"),
        (_no_room_for_a_graph, "the memory of its device"),
        (_no_room_on_a_cpu, "this machine's memory"),
        (_no_room_for_python, "this machine's memory"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_holds_no_tensor(
    job: Callable[[], None], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "gpu_size", lambda: 0)
    with pytest.raises(TombolaError) as caught:
        within_memory("dense network", 1, job)
    assert str(caught.value) == (
        f"expected dense network to fit in {room}, but it needs more. Use a higher "
        "--accumulation or a smaller --batch-size."
    )
    assert caught.value.__context__ is caught.value.__cause__ is None


def test_a_job_that_lacks_memory_is_done_again_without_what_other_jobs_left() -> None:
    kept, done = ["another network"], []

    def job() -> None:
        if kept:
            _too_much()
        done.append("job")

    def free() -> bool:
        return bool(kept and kept.pop())

    within_memory("dense network", 1, job, free)
    assert (kept, done) == ([], ["job"])


def test_another_error_stays_as_it_is() -> None:
    def fail() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        within_memory("dense network", 1, fail)


def test_a_lack_of_memory_names_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "gpu_size", lambda: 80 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (60 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    taken: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", taken.append)
    with pytest.raises(TombolaError) as caught:
        within_memory("dense network", 8, _too_much)
    assert taken == [9 / 80]
    assert str(caught.value) == (
        "expected dense network to fit in a share of 9.0 GiB of a GPU of 80.0 GiB for 8 workers, "
        "but it needs more. Use fewer --workers, a higher --accumulation or a smaller "
        "--batch-size."
    )
    with pytest.raises(TombolaError, match=r"in the 60\.0 GiB that are free on its GPU of 80"):
        within_memory("dense network", 1, _too_much)
    with pytest.raises(TombolaError, match=r"to fit in this machine's memory, but it needs more"):
        within_memory("dense network", 1, _no_room_on_a_cpu)
    assert len(taken) == 1
