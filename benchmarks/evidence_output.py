"""What is brought home from a run of the study: rows, verdicts, counts, results without weights."""

import io
import re
import tarfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from evidence_order import EVIDENCE, MakeSubject, planned
from tombola.lab.planfile.plan_file import PlanFile
from tombola.lab.store.result_store import Store
from tombola.plan.plan import Plan
from tombola.study.table.row import Row

PART, PARTS = 15 << 20, 3
"""Bytes before compression of an archive of results, and how many of them there may be."""


def write(
    files: Mapping[str, PlanFile], plan: Plan, subject: MakeSubject, store: Path, output: Path
) -> dict[str, Any]:
    """Write what was done into a folder, six files at most.

    Args:
        files: name -> plan.
        plan: every job of the study, in order.
        subject: as for the run.
        store: its folder.
        output: an existing folder.

    Returns: what was done, in numbers.
    """
    kept = Store(store)
    about: dict[str, Any] = {}
    for part in (
        lambda: pack_results(plan, kept, output),
        lambda: totals(plan, kept),
        lambda: write_tables(files, subject, kept, output),
    ):
        try:
            about |= part()
        except Exception:  # what a loan of a machine has made is not lost to one part of it
            traceback.print_exc()
    return about


def write_tables(
    files: Mapping[str, PlanFile], subject: MakeSubject, store: Store, output: Path
) -> dict[str, Any]:
    """Write the rows of all plans, and what they say of the claims."""
    from tombola.study.table.export import export

    whole = {name: whole_seeds(name, file, subject, store) for name, file in files.items()}
    tables = whole_tables(files, whole, subject, store)
    made = {}
    for name, file in files.items():
        made[f"{name}.every.csv"] = export(rows_of(name, file, file.seeds, subject, store), "csv")
    for name, table in tables.items():
        made[f"{name}.csv"] = export(table, "csv")
        made[f"{name}.yaml"] = plan_text(name, whole[name]).encode()
    pack(output / "plans.tar.gz", made)
    if tables:
        every = [row for table in tables.values() for row in table]
        (output / "rows.csv").write_bytes(export(every, "csv"))
    said = [verdicts(name, made[f"{name}.csv"]) for name in tables]
    (output / "claims.txt").write_text("\n".join(said))
    return {"whole_seeds": whole}


def plan_text(name: str, seeds: Sequence[int]) -> str:
    """A plan of the study as its file has it, with the seeds that were done."""
    text = (EVIDENCE / f"{name}.yaml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^seeds:.*", f"seeds: {list(seeds)}", text)


def rows_of(
    name: str, file: PlanFile, seeds: Sequence[int], subject: MakeSubject, store: Store
) -> list[Row]:
    """The rows of some seeds of a plan."""
    from tombola.study.table.table import rows

    return rows(planned(file, seeds, subject), store, name)


def whole_tables(
    files: Mapping[str, PlanFile],
    whole: Mapping[str, Sequence[int]],
    subject: MakeSubject,
    store: Store,
) -> dict[str, list[Row]]:
    """Plan -> the rows of its whole seeds, with the overlaps of the masks, which stay behind."""
    from tombola.study.table.table import rows, with_overlaps

    plans = {name: planned(files[name], seeds, subject) for name, seeds in whole.items() if seeds}
    table = [row for name, plan in plans.items() for row in rows(plan, store, name)]
    cells = tuple(cell for plan in plans.values() for cell in plan.cells)
    found: dict[str, list[Row]] = {name: [] for name in plans}
    for row in with_overlaps(table, Plan((), cells), store):
        found[row.plan].append(row)
    return found


def whole_seeds(name: str, file: PlanFile, subject: MakeSubject, store: Store) -> list[int]:
    """The seeds of a plan of which no run is missing: whatever the scores, the others don't count.

    Those after a seed with a gap are left out as well.
    """
    found = []
    for seed in file.seeds:
        mine = rows_of(name, file, [seed], subject, store)
        if any(row.state == "missing" or not store.has(row.dense_key) for row in mine):
            break
        found.append(seed)
    return found


def verdicts(name: str, table: bytes) -> str:
    """What `matching` and `claims` say of a table."""
    import tempfile

    from tombola.cli.main import main

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"{name}.csv"
        place.write_bytes(table)
        said = io.StringIO()
        with redirect_stdout(said):
            for verb in ("matching", "claims"):
                print(f"== tombola {verb} {name}.csv")
                main([verb, str(place)])
    return said.getvalue()


def pack(archive: Path, files: Mapping[str, bytes]) -> None:
    """Write a compressed archive of files."""
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def pack_results(plan: Plan, store: Store, output: Path) -> dict[str, int]:
    """Archive the results of trainings, with their predictions and without weights and masks.

    Unpacked, they are a store of which only the masks have to be made again.
    """
    parts: list[dict[str, bytes]] = [
        {"store/store.json": (store.folder / "store.json").read_bytes()}
    ]
    left = PART
    packed = left_out = 0
    for folder in result_folders(plan, store):
        files = {
            f"store/{file.relative_to(store.folder)}": file.read_bytes()
            for file in sorted(folder.iterdir())
        }
        size = sum(map(len, files.values())) + 1024 * len(files)
        if size > left and len(parts) < PARTS:
            parts.append({})
            left = PART
        if size > left:
            left_out += 1
            continue
        parts[-1] |= files
        left -= size
        packed += 1
    for number, files in enumerate(parts, 1):
        pack(output / f"store-{number}.tar.gz", files)
    return {"results_packed": packed, "results_left_out": left_out}


def result_folders(plan: Plan, store: Store) -> Iterable[Path]:
    """The folders of the trainings that are done, in the order of the plan."""
    for job in plan.jobs:
        if job.kind == "train" and store.has(job.key):
            yield store.folder / "results" / job.key[:2] / job.key


def totals(plan: Plan, store: Store) -> dict[str, Any]:
    """Trainings, steps, tokens and seconds of what is done."""
    done = [job for job in plan.jobs if job.kind == "train" and store.has(job.key)]
    results = [result for job in done if (result := store.read(job.key))]
    return {
        "trainings": len(done),
        "steps": sum(job.steps for job in done),
        "tokens": sum(result.facts.get("tokens", 0) for result in results),
        "seconds_in_trainings": round(sum(result.seconds for result in results), 1),
        "diverged": sum(result.diverged is not None for result in results),
    }
