"""Workers on a Ray cluster, which is started here or runs already."""

import contextlib
import os
import secrets
import signal
import socket
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from tombola.base.errors import SpecError, TombolaError, first_line, rebuild_error, sent_name
from tombola.lab.run.engine import JobEvents
from tombola.lab.run.payload import Payload
from tombola.lab.run.workers.gpus import ray_gpus, sharers_of_a_gpu
from tombola.lab.run.workers.local import Worker
from tombola.lab.store.numerics import refuse_others
from tombola.lab.store.result import decode
from tombola.lab.store.result_store import Store
from tombola.plan.job import READS_WEIGHTS
from tombola.training.steps import ignore_step

__all__ = ["RayCluster", "check_cluster", "run_remotely"]

Files = dict[str, bytes]
JobInputs = dict[str, Any]
"""What a job reads, as bytes by key, for a worker that can't read the store."""

LOSSES = 5
"""How often Ray starts a job again if its worker or node is lost."""


class RayCluster:
    """Does each job as a Ray task, on a node that Ray chooses by the cores and GPUs needed.

    Where there are more workers than GPUs, each job asks for a part of one.

    Workers use the store if they can read its folder. As soon as one reports that it can't, each
    is sent what its job reads, and sends its result back.
    """

    def __init__(
        self, store: Store, *, address: str, workers: int, threads: int, processes: int
    ) -> None:
        self.ray = _ray()
        self.store = store
        self._token = store.folder / "tmp" / f"token-{secrets.token_hex(8)}"
        self._shared = True
        handler = signal.getsignal(signal.SIGTERM)
        cores = threads * processes
        self._start(address, cores * max(workers, 1))
        _handle_sigterm(handler)
        self._pending: dict[Any, Payload] = {}
        self._size(workers, cores, processes)

    def _size(self, workers: int, cores: int, processes: int) -> None:
        """Choose how many jobs run at once, and what each asks for; a job has one node.

        Raises: SpecError, if no node has the cores or GPUs that a job needs.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        of_nodes = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
        gpus = sum(mine for _, mine in of_nodes)
        most = max((mine for _, mine in of_nodes), default=0)
        self._sharers = sharers_of_a_gpu(workers, gpus, processes=processes)
        self.gpus_per_job = ray_gpus(workers, most if processes > 1 else gpus, processes=processes)
        remote: Any = self.ray.remote(
            num_cpus=cores, num_gpus=self.gpus_per_job, max_retries=LOSSES
        )
        self._remote_function = remote(run_remotely)
        usable = [(cpus, mine) for cpus, mine in of_nodes if mine >= self.gpus_per_job]
        largest = max((cpus for cpus, _ in usable), default=0)
        if largest < cores:
            more = " and GPUs" if gpus else ""
            raise SpecError(
                f"expected a node of the Ray cluster with {cores} cores{more} for each training, "
                f"got {largest} at most. Lower --threads or --processes, or add a larger node."
            )
        room = sum(min(cpus // cores, mine // processes if gpus else cpus) for cpus, mine in usable)
        self._workers = workers or room

    def _start(self, address: str, cores: int) -> None:
        if self.ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address:
            options["address"] = address
        else:
            options |= {"num_cpus": max(cores, os.cpu_count() or 1), "include_dashboard": False}
        try:
            _check_address(address)
            self.ray.init(**options)
        except Exception as error:  # Ray raises Exception itself if a node is slow to start
            raise _not_there(address, error) from None

    @property
    def free_slots(self) -> int:
        """How many more jobs can be submitted now."""
        return self._workers - len(self._pending)

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Submit a job to the cluster."""
        del events
        self._token.parent.mkdir(exist_ok=True)
        self._token.touch()
        inputs = None if self._shared else self.ray.put(self._inputs(payload))
        remote = self._remote_function.options(name=payload.label)
        handle = remote.remote(payload.anywhere().to_json(), self._place(), inputs, self._sharers)
        self._pending[handle] = payload

    def _place(self) -> tuple[str, str]:
        """The store's folder as this process sees it, and the name of a file that is in it now."""
        return str(self.store.folder.resolve()), self._token.name

    def _inputs(self, payload: Payload) -> JobInputs:
        """Everything that a job reads: its parents, the masks of trained parents, and weights."""
        found = dict.fromkeys(payload.parents.values())
        for key in list(found):
            result = self.store.read(key)
            if result is not None and "mask" in result.parents:
                found[result.parents["mask"]] = None
        weights = {
            key: path.read_bytes()
            for role, key in payload.parents.items()
            if role in READS_WEIGHTS and (path := self.store.weights(key))
        }
        return {"results": {key: self.store.export(key) for key in found}, "weights": weights}

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Report the jobs that the cluster has finished, after at most that many seconds."""
        done, _ = self.ray.wait(list(self._pending), timeout=seconds)
        for handle in done:
            payload = self._pending.pop(handle)
            try:
                said, *rest = self.ray.get(handle)
            except self.ray.exceptions.RayError as error:
                reason = first_line(error).rstrip(".")
                lost = f"expected Ray to do {payload.label}, got: {reason}. Run the command again."
                events.failed(payload.key, TombolaError(lost))
                continue
            if said == "absent":
                self._shared = False
                self.submit(payload, events)
            elif said == "failed":
                events.failed(payload.key, rebuild_error(*rest))
            else:
                self._take(payload, *rest)
                events.done(payload.key)

    def _take(self, payload: Payload, files: Files | None, weights: bytes | None) -> None:
        """Save what a worker has sent that can't read the store."""
        if files is not None:
            refuse_others(self.store, payload, decode(files["result.json"]).numerics)
        if weights is not None:
            self.store.save_weights(payload.key, partial(_write, content=weights))
        if files is not None:
            self.store.adopt(files)

    def close(self) -> None:
        """Cancel what is in flight."""
        for handle in self._pending:
            with contextlib.suppress(Exception):
                self.ray.cancel(handle, force=True)
        self._pending.clear()
        self._token.unlink(missing_ok=True)


def _handle_sigterm(handler: Any) -> None:
    """Replace Ray's handler of SIGTERM, which ends the process with a traceback."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def check_cluster(address: str) -> None:
    """Refuse a cluster that can't be used, as far as can be seen without joining or starting it.

    Raises: SpecError, if Ray is not installed, or nothing answers at that address.
    """
    _ray()
    try:
        _check_address(address)
    except OSError as error:
        raise _not_there(address, error) from None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise SpecError(
            "the engine 'ray' needs Ray, which is not installed. Install it with `pip install ray`."
        ) from None
    return ray


def _not_there(address: str, error: Exception) -> SpecError:
    reason = " ".join(str(error).split())
    return SpecError(
        f"expected a Ray cluster at {address or 'this machine'}, got: {reason} "
        "Start one with `ray start --head`, set RAY_AUTH_TOKEN if it has one, or leave out "
        "--ray-address."
    )


def _check_address(address: str) -> None:
    """Check that the address accepts connections; Ray itself would try for minutes.

    Raises: OSError, if it doesn't.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def run_remotely(
    payload_json: str, place: tuple[str, str], inputs: JobInputs | None, sharers: int
) -> tuple[Any, ...]:
    """Do a job on a node of the cluster.

    Args:
        payload_json: the payload.
        place: the store's folder as the engine sees it, and the name of a file that is in it now.
        inputs: what the job reads, if the worker can't read that folder.
        sharers: number of jobs that share a GPU, this one included.

    Returns: ("done", files, weights), both None if the store is shared; ("absent",) if it isn't
        and there are no inputs; or ("failed", name of the error, message).
    """
    payload, (folder, token) = Payload.from_json(payload_json), place
    try:
        if (Path(folder) / "tmp" / token).exists():
            Worker(Store(folder), sharers=sharers).do(payload, ignore_step)
            return "done", None, None
        if inputs is None:
            return ("absent",)
        with tempfile.TemporaryDirectory() as scratch:
            return "done", *_run_without_store(payload, Path(scratch), inputs, sharers)
    except Exception as error:
        return "failed", sent_name(error), " ".join(str(error).split())


def _run_without_store(
    payload: Payload, scratch: Path, inputs: JobInputs, sharers: int
) -> tuple[dict[str, bytes], bytes | None]:
    """Do a job in a temporary store.

    Returns: the files of its result, and its weights if a later job reads them.
    """
    store = Store(scratch / "store")
    for files in inputs["results"].values():
        store.adopt(files)
    for key, content in inputs["weights"].items():
        store.save_weights(key, partial(_write, content=content))
    Worker(store, sharers=sharers).do(payload, ignore_step)
    kept = store.weights(payload.key)
    return store.export(payload.key), kept.read_bytes() if kept else None
