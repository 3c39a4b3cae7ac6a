"""The functions for Python: find, evaluate, train and look at tickets."""

from tombola.api.bench.comparison import Benched, bench
from tombola.api.inspection import inspect
from tombola.api.merging import merge
from tombola.api.onnx.exporting import Exported, export
from tombola.api.signatures import evaluate, find, train
from tombola.api.tickets import import_ticket, one_shot
from tombola.lab.progress.bar import ProgressBar
from tombola.lab.run.engine import RunCallback
from tombola.models.embedded import model_path
from tombola.ship.sharing import pull, push
from tombola.ship.trained_network import TrainedNetwork, load
from tombola.study.results.evaluation_result import Evaluated
from tombola.study.results.search_result import Found
from tombola.study.results.training_result import Trained
from tombola.ticket.ticket import Ticket

__all__ = [
    "Benched",
    "Evaluated",
    "Exported",
    "Found",
    "ProgressBar",
    "RunCallback",
    "Ticket",
    "Trained",
    "TrainedNetwork",
    "bench",
    "evaluate",
    "export",
    "find",
    "import_ticket",
    "inspect",
    "load",
    "merge",
    "model_path",
    "one_shot",
    "pull",
    "push",
    "train",
]
