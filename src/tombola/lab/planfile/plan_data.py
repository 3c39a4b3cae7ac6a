"""The data of a plan's tasks, in one folder."""

from dataclasses import replace
from pathlib import Path

from tombola.base.errors import SpecError
from tombola.lab.planfile.plan_file import PlanFile
from tombola.tasks.task import YAML, on_hub

__all__ = ["data_in"]


def data_in(folder: str | Path, plan: PlanFile) -> PlanFile:
    """The plan with the data of a folder, which has a folder for each task that it has data of.

    The folder of a task in a file is called as the file is, without .yaml. A plan of one task may
    be given its files, or `hub:OWNER/NAME`, too.

    Raises: SpecError, if no task of the plan has data there.
    """
    place = Path(folder)
    inside = {task: place / _folder_of(task) for task in plan.tasks}
    found: dict[str, str | Path] = {task: at for task, at in inside.items() if at.is_dir()}
    if not found and len(plan.tasks) == 1 and (on_hub(folder) or place.exists()):
        found = dict.fromkeys(plan.tasks, str(folder) if on_hub(folder) else place)
    if not found:
        raise SpecError(
            f"expected a folder for each task in {str(folder)!r} "
            f"({', '.join(map(_folder_of, plan.tasks))}), got none of them. Use another --data."
        )
    return replace(plan, data={**plan.data, **found})


def _folder_of(task: str) -> str:
    """What the folder with a task's files is called."""
    path = Path(task)
    return path.stem if path.suffix in YAML else task
