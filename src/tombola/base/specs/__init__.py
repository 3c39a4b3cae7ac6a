"""Every knob of an experiment: its default, its help text, and its validation.

The string under a field is the help text of its command-line flag. A default never changes in
place: it is part of what names a result. Bump the version of the job kind instead.
"""

from tombola.base.specs.bench import BenchSpec
from tombola.base.specs.evaluate import INIT_NAMES, EvaluateSpec, FixedTicketSpec, TrainTicketSpec
from tombola.base.specs.export import ExportSpec
from tombola.base.specs.lab import LabSpec
from tombola.base.specs.merge import MERGE_RULES, MergeSpec
from tombola.base.specs.prune import STRUCTURE_NAMES, PruneSpec
from tombola.base.specs.search import (
    DEFAULT_CONTROLS,
    OPTIONAL_CONTROLS,
    SCOPE_NAMES,
    TUNE,
    FindSpec,
)
from tombola.base.specs.spec import Spec
from tombola.base.specs.task import TaskSpec
from tombola.base.specs.train import AUTO, IN_C, KERNELS, SEEDS, WHOLE_COURSE, CourseSpec, TrainSpec

__all__ = [
    "AUTO",
    "DEFAULT_CONTROLS",
    "INIT_NAMES",
    "IN_C",
    "KERNELS",
    "MERGE_RULES",
    "OPTIONAL_CONTROLS",
    "SCOPE_NAMES",
    "SEEDS",
    "STRUCTURE_NAMES",
    "TUNE",
    "WHOLE_COURSE",
    "BenchSpec",
    "CourseSpec",
    "EvaluateSpec",
    "ExportSpec",
    "FindSpec",
    "FixedTicketSpec",
    "LabSpec",
    "MergeSpec",
    "PruneSpec",
    "Spec",
    "TaskSpec",
    "TrainSpec",
    "TrainTicketSpec",
]
