"""Lottery tickets for pre-trained transformers.

>>> import tombola
>>> found = tombola.find(task="sentiment", sparsity=0.5, seeds=[0])
>>> ticket = tombola.Ticket.load(found.ticket)
>>> with ticket.hold(model):  # in a Trainer: callbacks=[tombola.TicketCallback(ticket)]
...     ...  # train it
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tombola.base.errors import (
    DataError,
    JobFailedError,
    ModelError,
    OutputError,
    SpecError,
    TicketError,
    TombolaError,
    TrainingDivergedError,
)

if TYPE_CHECKING:
    from tombola.api import (
        BenchmarkResult,
        EvaluationResult,
        ExportResult,
        NetworkInfo,
        ProgressBar,
        RunCallback,
        ScopeInfo,
        SearchResult,
        Ticket,
        TicketInfo,
        TrainedNetwork,
        TrainingResult,
        bench,
        evaluate,
        export,
        find,
        import_ticket,
        inspect,
        load,
        merge,
        model_path,
        one_shot,
        pull,
        push,
        train,
    )
    from tombola.ship.callbacks.lightning import LightningTicketCallback as LightningTicketCallback
    from tombola.ship.callbacks.trainer import TicketCallback
    from tombola.ship.lora import merge_lora

__version__ = "0.1.0"
__all__ = [
    "BenchmarkResult",
    "DataError",
    "EvaluationResult",
    "ExportResult",
    "JobFailedError",
    "ModelError",
    "NetworkInfo",
    "OutputError",
    "ProgressBar",
    "RunCallback",
    "ScopeInfo",
    "SearchResult",
    "SpecError",
    "Ticket",
    "TicketCallback",
    "TicketError",
    "TicketInfo",
    "TombolaError",
    "TrainedNetwork",
    "TrainingDivergedError",
    "TrainingResult",
    "__version__",
    "bench",
    "evaluate",
    "export",
    "find",
    "import_ticket",
    "inspect",
    "load",
    "merge",
    "merge_lora",
    "model_path",
    "one_shot",
    "pull",
    "push",
    "train",
]


SHIPPED = {
    "LightningTicketCallback": "tombola.ship.callbacks.lightning",
    "TicketCallback": "tombola.ship.callbacks.trainer",
    "merge_lora": "tombola.ship.lora",
}
"""Names that load more than the rest: where they are. One that needs an extra is not in __all__."""


def __getattr__(name: str) -> Any:
    """Load torch only when a name that needs it is used."""
    if name in SHIPPED:
        return getattr(import_module(SHIPPED[name]), name)
    if name in __all__:
        from tombola import api

        return getattr(api, name)
    raise AttributeError(f"module 'tombola' has no attribute {name!r}")
