"""The functions for Python: find, evaluate, train and look at tickets."""

from tombola.api.bench.comparison import BenchmarkResult, bench
from tombola.api.inspection import NetworkInfo, ScopeInfo, TicketInfo, inspect
from tombola.api.merging import merge
from tombola.api.onnx.exporting import ExportResult
from tombola.api.signatures import evaluate, export, find, train
from tombola.api.tickets import import_ticket, one_shot
from tombola.lab.progress.bar import ProgressBar
from tombola.lab.run.engine import RunCallback
from tombola.models.embedded import model_path
from tombola.ship.sharing import pull, push
from tombola.ship.trained_network import TrainedNetwork, load
from tombola.study.results.evaluation_result import EvaluationResult
from tombola.study.results.search_result import SearchResult
from tombola.study.results.training_result import TrainingResult
from tombola.ticket.ticket import Ticket

__all__ = [
    "BenchmarkResult",
    "EvaluationResult",
    "ExportResult",
    "NetworkInfo",
    "ProgressBar",
    "RunCallback",
    "ScopeInfo",
    "SearchResult",
    "Ticket",
    "TicketInfo",
    "TrainedNetwork",
    "TrainingResult",
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
