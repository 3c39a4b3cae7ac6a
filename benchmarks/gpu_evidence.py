"""The study of evidence/ on one machine, as far as the time allows.

python benchmarks/gpu_evidence.py --seconds 300 --workers 8 --output DIR
python benchmarks/gpu_evidence.py --study small --seconds 20000 --workers 2 --store runs/small

Does the jobs of all plans in the order of evidence/README.md until the time is up, and then writes
for each plan the rows of its whole seeds. `--count` only shows what there is to do; `--dry-run`
does one seed of everything on almost no data.
"""

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from cuda_mps import mps
from evidence_order import (
    EVIDENCE,
    STUDIES,
    MakeSubject,
    Stages,
    counted_subject,
    names,
    read,
    study,
    table,
)
from evidence_output import write
from tombola.base.specs import LabSpec, TrainSpec
from tombola.cli.main import QUIET
from tombola.lab.planfile.plan_file import PlanFile
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result import Result
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import Task

SHORT = {"train_limit": 4, "test_limit": 4, "batch_size": 4, "max_length": 96}
"""The recipes of a dry run."""
ROOM = 12 << 30
"""Bytes for a store: masks, and the weights that trainings in progress read and write."""
LINE = 10.0
"""Seconds from one line of progress to the next."""
AGAIN = 30.0
"""Seconds after which the end of the time is called once more, should nobody have heard it."""


class Progress(RunCallback):
    """Counts, and a line now and then."""

    def __init__(self) -> None:
        self.began = self._said = time.monotonic()
        self.steps: dict[str, int] = {}
        self.trainings = 0
        self.failed: list[str] = []

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        """Begin to measure."""
        self.began = time.monotonic()

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """Count the steps of a training that goes on."""
        self.steps[job.key] = done
        self._say()

    def _say(self) -> None:
        """Print how far it is, if that was long ago."""
        if time.monotonic() - self._said >= LINE:
            self._said = time.monotonic()
            print(self.line(), flush=True)

    def on_job_end(self, job: Job, result: Result) -> None:
        """Count a training."""
        if job.kind == "train":
            self.steps[job.key] = job.steps
            self.trainings += 1
        self._say()

    def on_job_error(self, job: Job, reason: str) -> None:
        """Keep and show why a job failed."""
        self.failed.append(f"{job.label}: {reason}")
        print(f"failed: {self.failed[-1]}", flush=True)

    def line(self) -> str:
        """How far it is."""
        seconds, steps = time.monotonic() - self.began, sum(self.steps.values())
        rate = steps / max(seconds, 1e-9)
        return f"{seconds:6.0f} s  {self.trainings} trainings  {steps} steps  {rate:.0f} steps/s"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop what is done inside as Ctrl-C would, when the time is up or on SIGTERM."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGTERM)}
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1), AGAIN)
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; finished trainings stay", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def shortened(file: PlanFile) -> PlanFile:
    """A plan with one seed and almost no data."""
    tasks = {task: {**changes, **SHORT} for task, changes in file.tasks.items()}
    return replace(file, tasks=tasks, seeds=(0,))


def first_seed(stages: Stages) -> Stages:
    """The stages that begin with the first seed, and that alone."""
    return [(plans, seeds[:1]) for plans, seeds in stages if seeds[0] == 0]


def build_texts(plans: Iterable[str]) -> None:
    """Write the texts that a plan needs, where they are missing."""
    if {"lineage", "small-lineage"} & set(plans) and not (EVIDENCE / "brown").is_dir():
        sys.path.insert(0, str(EVIDENCE))
        from build_brown import main as build

        build()


def subjects(store: Path) -> MakeSubject:
    """What makes the subjects of the plans, with their fingerprints."""
    from tombola.lab.subjects import SubjectFactory

    subjects = SubjectFactory(store)

    def subject(task: Task, recipe: TrainSpec) -> Subject:
        return subjects.subject("mini", task, recipe, scope="encoder", folder=None)

    return subject


def roomy_memory() -> str | None:
    """The folder in memory, if it has room for weights; containers often have a small one."""
    shared = "/dev/shm"
    usable = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free >= ROOM
    return shared if usable else None


def run(plan: Plan, options: Namespace, store: Path) -> Progress:
    """Do the jobs until the time is up."""
    from tombola.lab.run.runner import run_plan

    spec = LabSpec(store=str(store), workers=options.workers, threads=options.threads)
    progress = Progress()
    with time_limit(options.seconds):
        run_plan(plan, spec, progress)
    print(progress.line(), flush=True)
    return progress


def machine() -> Mapping[str, str]:
    """What it was done on."""
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"card": card, "torch": torch.__version__, "python": platform.python_version()}


def flags() -> Namespace:
    """The flags of the command line."""
    parser = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=300, help="time for the trainings")
    parser.add_argument("--workers", type=int, default=8, help="jobs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--output", type=Path, default=Path("runs/evidence"), metavar="DIR")
    parser.add_argument("--store", type=Path, metavar="DIR", help="default: a temporary folder")
    parser.add_argument("--no-mps", action="store_true", help="leave NVIDIA's MPS alone")
    parser.add_argument("--dry-run", action="store_true", help="one seed, almost no data")
    parser.add_argument("--count", action="store_true", help="show what there is to do, and exit")
    parser.add_argument("--study", choices=STUDIES, default="full", help="default: full")
    parser.add_argument("--stages", type=int, metavar="N", help="only the first N stages")
    parser.add_argument("--rate", type=float, default=1000, help="steps a second to expect")
    return parser.parse_args()


def main() -> None:
    """Count, run and write."""
    options = flags()
    stages = STUDIES[options.study][: options.stages]
    files = {name: read(name) for name in names(stages)}
    if options.count:
        print(table(study(files, counted_subject, stages)[1], options.rate))
        return
    began = time.monotonic()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    build_texts(files)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.dry_run:
        stages = first_seed(stages)
        files = {name: shortened(file) for name, file in files.items()}
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="evidence-", dir=roomy_memory())
        scratch = stack.enter_context(folder)
        print(stack.enter_context(nullcontext("MPS left alone") if options.no_mps else mps()))
        store = options.store or Path(scratch) / "store"
        subject = subjects(store)
        plan, shares = study(files, subject, stages)
        print(table(shares, options.rate), flush=True)
        ready = time.monotonic()
        progress = run(plan, options, store)
        ended = time.monotonic()
        about = {"machine": machine(), "failed": progress.failed, "progress": progress.line()}
        counts = write(files, plan, subject, store, options.output)
        seconds = {"before": ready - began, "run": ended - ready, "after": time.monotonic() - ended}
    report = {**about, **counts, "seconds": {k: round(v, 1) for k, v in seconds.items()}}
    text = json.dumps(report, indent=1)
    (options.output / "counts.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
