"""Prove that a refactoring lost nothing: run small experiments on two commits, compare all files.

python tools/compare_commits.py BEFORE AFTER
python tools/compare_commits.py BEFORE AFTER --keep DIR   keep the results, use those that are kept

Each commit is checked out into a folder of its own and used through `python -m tombola` only, with
this interpreter, one thread and the CPU. Masks, outcomes of trainings, tickets and tables must be
equal to the bit, and everything else that a program could read must be equal as JSON. The exit
status is 1 on any difference.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from differences import (
    ADDED,
    DIGITS,
    ESTIMATED,
    EXACT,
    PRESENT,
    RENAMED,
    UNSEEN,
    VOLATILE,
    WORDING,
    Side,
    differences,
)
from experiments import EXPERIMENTS, UNITS, Experiment, write_inputs

HERE = Path(__file__).parent
SHOWN = 5
LIBRARIES = ("accelerate", "numpy", "pyarrow", "safetensors", "scipy", "torch", "transformers")
REMOVED = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "PYTHONHASHSEED", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True)
class Run:
    """What the experiments have left on one commit."""

    folder: Path
    about: dict[str, Any]
    """`made_of`, absolute paths at that time, and experiment -> CPU seconds."""

    def side(self) -> Side:
        """The files to compare, and how to make their absolute paths equal."""
        return Side(self.folder, self.about["absolute"])


def main(arguments: list[str] | None = None) -> int:
    """Run what is not kept yet, compare, and print one line an experiment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", metavar="BEFORE", help="commit before the refactoring")
    parser.add_argument("after", metavar="AFTER", help="commit after it")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep the results of each commit")
    flags = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="compare-commits-") as temporary:
        folders = [flags.keep, flags.keep] if flags.keep else [Path(temporary) / n for n in "ab"]
        commits = [commit_of(name) for name in (flags.before, flags.after)]
        if commits[0] == commits[1]:  # a run is never compared with itself
            folders[1] = Path(temporary) / "again"
        runs = [
            run_of(commit, folder.resolve(), Path(temporary))
            for commit, folder in zip(commits, folders, strict=True)
        ]
        return reported(*runs)


def commit_of(name: str) -> str:
    """The full hash of a commit."""
    return git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()


def git(*arguments: str) -> bytes:
    """The output of git on the repository that this script belongs to."""
    return subprocess.run(
        ["git", "-C", HERE.parent, *arguments], check=True, stdout=subprocess.PIPE
    ).stdout


def run_of(commit: str, folder: Path, temporary: Path) -> Run:
    """The results of a commit: kept ones, if the same experiments made them, or new ones."""
    place, wanted = folder / commit, made_of(commit)
    if (place / "about.json").exists():
        kept = Run(place, json.loads((place / "about.json").read_text()))
        if kept.about["made_of"] == wanted:
            print(f"{commit[:12]}: kept results of {place}")
            return kept
    work = Path(tempfile.mkdtemp(dir=temporary))
    checkout = temporary / "checkouts" / commit
    check_out(commit, checkout)
    write_inputs(work / "inputs", checkout)
    seconds = {e.name: run(e, work, checkout) for e in EXPERIMENTS}
    absolute = {str(work): "WORK", str(checkout): "CHECKOUT"}
    about = {"made_of": wanted, "absolute": absolute, "seconds": seconds}
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    shutil.move(work, place)
    (place / "about.json").write_text(json.dumps(about, indent=1))  # last: the results are whole
    return Run(place, about)


def made_of(commit: str) -> dict[str, str]:
    """Everything that results depend on: commit, experiments, Python, machine."""
    digest = hashlib.sha256()
    for path in (HERE / "experiments.py", *sorted((HERE / "inputs").iterdir())):
        digest.update(path.name.encode() + path.read_bytes())
    libraries = {name: version(name) for name in LIBRARIES}
    python = {"python": sys.version, "executable": sys.executable, "machine": platform.node()}
    return {"commit": commit, "experiments": digest.hexdigest(), **python, **libraries}


def check_out(commit: str, folder: Path) -> None:
    """Write the files of a commit into a new folder, and see that Python finds them there."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", folder], input=git("archive", commit), check=True)
    code = "import importlib.util as u; print(u.find_spec('tombola').origin)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment(folder), check=True, stdout=subprocess.PIPE)
    if not Path(found.stdout.decode().strip()).is_relative_to(folder / "src"):
        sys.exit(f"tombola must be imported from {folder}, got {found.stdout.decode()}")


def environment(checkout: Path) -> dict[str, str]:
    """Environment variables of every command: that commit's source, one thread, no GPU, no hub."""
    kept = {name: value for name, value in os.environ.items() if name not in REMOVED}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    fixed = {"PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100"}
    return {**kept, **one, **fixed, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


def run(experiment: Experiment, work: Path, checkout: Path) -> float:
    """Run the commands of an experiment, keep their exit statuses; the CPU seconds it took."""
    began = cpu_seconds()
    (work / experiment.name).mkdir()
    (work / "logs").mkdir(exist_ok=True)
    statuses = {}
    for number, command in enumerate(experiment.commands):
        log = work / "logs" / f"{experiment.name}-{number}"
        statuses[command] = status_of(command, log, work, checkout)
        if statuses[command]:
            print(f"failed: tombola {command}\n{log.with_suffix('.err').read_text()[-2000:]}")
    (work / experiment.name / "statuses.json").write_text(json.dumps(statuses, indent=1))
    seconds = cpu_seconds() - began
    print(
        f"  {checkout.name[:12]} {experiment.name}: {seconds:.0f} s of CPU",
        file=sys.stderr,
        flush=True,
    )
    return seconds


def cpu_seconds() -> float:
    """CPU time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def status_of(command: str, log: Path, work: Path, checkout: Path) -> int:
    """The exit status of one command; what it prints goes to the log, or where `>` says."""
    arguments, _, target = command.partition(" > ")
    output = work / target if target else log.with_suffix(".out")
    with output.open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.run(
            [sys.executable, "-m", "tombola", *shlex.split(arguments)],
            cwd=work,
            env=environment(checkout),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
        ).returncode


def reported(before: Run, after: Run) -> int:
    """Print the differences; 1 if there are any, or if a command failed."""
    failed = sum([compared(before, after, unit) for unit in UNITS])
    print("\nRenamed on purpose, in fields and columns:")
    for old, new in RENAMED.items():
        print(f"  {old} to {new}")
    print(f"Compared in {DIGITS} digits: {', '.join(sorted(ESTIMATED))}")
    print("Not compared:")
    for files, name, reason in VOLATILE:
        print(f"  {name} in {files}: {reason}")
    for files, name, reason in ADDED:
        print(f"  {name} in {files}, which earlier commits lack: {reason}")
    print("  bytes of a ticket's mask.safetensors: the decoded masks are compared")
    print(f"  words, but not numbers, in the JSON fields {', '.join(sorted(WORDING))}")
    print(f"  content of {', '.join(PRESENT)}, which must exist; tables and messages printed")
    print(f"  {', '.join(UNSEEN)}; order of a store's index and cache of fingerprints")
    print(f"  order and layout of JSON, other than in {', '.join(EXACT)}")
    for run in (before, after):
        made = run.about["made_of"]
        print(f"{made['commit'][:12]}: {sum(run.about['seconds'].values()):.0f} s of CPU")
    print(f"{failed} of {len(UNITS)} differ." if failed else f"All {len(UNITS)} are equal.")
    return int(failed > 0)


def compared(before: Run, after: Run, unit: str) -> bool:
    """Print the line of one experiment or store; whether it differs or failed."""
    found = differences(before.side(), after.side(), unit)
    first = list(islice(found, SHOWN))
    more = sum(1 for _ in found)
    broken = [command for run in (before, after) for command in failures(run.folder, unit)]
    files = sum(path.is_file() for path in (before.folder / unit).rglob("*"))
    empty = not files
    verdict = "different" if first else "failed" if broken else "empty" if empty else "equal"
    print(f"{unit}: {verdict} ({files} files)", flush=True)
    for line in (*first, *(f"failed: tombola {command}" for command in broken)):
        print(f"  {line}")
    if more:
        print(f"  and {more} more differences")
    return verdict != "equal"


def failures(folder: Path, unit: str) -> list[str]:
    """The commands of an experiment that ended with another status than 0."""
    path = folder / unit / "statuses.json"
    statuses: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return [command for command, status in statuses.items() if status]


if __name__ == "__main__":
    sys.exit(main())
