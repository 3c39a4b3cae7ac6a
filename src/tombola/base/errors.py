"""What can go wrong, in one tree.

TombolaError                 everything a user can mend; the command line prints it in one line
├── SpecError                a knob has a value that makes no sense, or knobs contradict each other
├── ModelError               a network can't be loaded, or has nothing to prune
├── DataError                a task's data are missing or malformed
├── TicketError              a ticket is damaged, too new, or belongs to another network
└── OutputError              a folder can't be used for results

Each message says what was expected, what came, and what to do. Any other exception is a bug
and keeps its traceback: JobFailedError, if it stopped a training of find() or evaluate().
"""

__all__ = [
    "DataError",
    "JobFailedError",
    "ModelError",
    "OutputError",
    "SpecError",
    "TicketError",
    "TombolaError",
    "brief",
    "cut",
    "error_of",
]

_WIDTH = 80


class TombolaError(Exception):
    """Base of all errors that a user can mend."""


class SpecError(TombolaError):
    """A knob has a value that makes no sense, or two knobs contradict each other."""


class ModelError(TombolaError):
    """A network can't be loaded, or has nothing to prune."""


class DataError(TombolaError):
    """A task's data are missing or malformed."""


class TicketError(TombolaError):
    """A ticket is damaged, too new, or belongs to another network."""


class OutputError(TombolaError):
    """A folder can't be used for results."""


class JobFailedError(Exception):
    """A job failed for a reason that no user can mend; the cause is its `__cause__`."""


def brief(came: object) -> str:
    """What came as Python writes it, as far as it fits."""
    try:
        told = repr(came)
    except (ValueError, RecursionError):  # a number of thousands of digits
        told = f"a {type(came).__name__} that is too long to show"
    return told if len(told) <= _WIDTH else f"{told[:_WIDTH]}…"


def cut(came: object) -> str:
    """What came, quoted for a message, as far as it fits."""
    told = str(came)
    return repr(told if len(told) <= _WIDTH else f"{told[:_WIDTH]}…")


def error_of(name: str, message: str) -> Exception:
    """The error that another process has reported; a RuntimeError, if it is none of ours."""
    kind = globals().get(name)
    if isinstance(kind, type) and issubclass(kind, TombolaError):
        return kind(message)
    return RuntimeError(f"{name}: {message}")
