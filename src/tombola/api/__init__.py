"""The functions for Python: find, evaluate and look at tickets."""

from tombola.api.inspection import inspect
from tombola.api.merging import merge
from tombola.api.signatures import evaluate, find
from tombola.api.tickets import import_ticket, one_shot
from tombola.models.embedded import model_path
from tombola.ship.sharing import pull, push
from tombola.study.results.evaluation_result import Evaluated
from tombola.study.results.search_result import Found
from tombola.ticket.ticket import Ticket

__all__ = [
    "Evaluated",
    "Found",
    "Ticket",
    "evaluate",
    "find",
    "import_ticket",
    "inspect",
    "merge",
    "model_path",
    "one_shot",
    "pull",
    "push",
]
