"""What can go wrong, in one tree.

TombolaError                 everything a user can fix; the command line prints it in one line
├── SpecError                a knob has a value that makes no sense, or knobs contradict each other
├── ModelError               a network can't be loaded, or has nothing to prune
├── DataError                a task's data are missing or malformed
│   └── MissingSplitError    they lack the split that was asked for
├── TicketError              a ticket is damaged, too new, or belongs to another network
├── OutputError              a folder can't be used for results
└── TrainingDivergedError    a training that a result needs has diverged

Each message says what was expected, what came, and what to do. Any other exception is a bug
and keeps its traceback: JobFailedError, if it stopped a training of find() or evaluate().

A message that names knobs names flags, as in "leave out --eval-split"; `naming_keywords` makes them
keywords for who calls a function from Python, and `naming_flags` the other way round.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

__all__ = [
    "DataError",
    "JobFailedError",
    "MissingSplitError",
    "ModelError",
    "OutputError",
    "SpecError",
    "TicketError",
    "TombolaError",
    "TrainingDivergedError",
    "brief",
    "cut",
    "first_line",
    "naming_flags",
    "naming_keywords",
    "rebuild_error",
    "sent_name",
]

_WIDTH = 80
_FLAG = re.compile(r"`[^`]*`|(?<![\w-])--([a-z]+(?:-[a-z]+)*)")
"""A flag, unless it stands in a command."""
_SEVERAL_WORDS = re.compile(r"`[^`]*`|'[^']*'|(?<![\w./-])([a-z]+(?:_[a-z]+)+)(?!\.?[\w/(=])")
"""A keyword of several words, unless it stands in a command or in quotes."""
_KEYWORDS = {"from": "from_ticket", "no-private": "private=False", "message": "commit_message"}
"""Flag -> its keyword, where that has another name."""


class TombolaError(Exception):
    """Base of all errors that a user can fix."""

    _with_flags = ""

    @property
    def with_flags(self) -> str:
        """The message as the command line prints it, also if it names keywords by now."""
        return self._with_flags or str(self)


class SpecError(TombolaError):
    """A knob has a value that makes no sense, or two knobs contradict each other."""


class ModelError(TombolaError):
    """A network can't be loaded, or has nothing to prune."""


class DataError(TombolaError):
    """A task's data are missing or malformed."""


class MissingSplitError(DataError):
    """A task's data have no such split."""


class TicketError(TombolaError):
    """A ticket is damaged, too new, or belongs to another network."""


class OutputError(TombolaError):
    """A folder can't be used for results."""


class TrainingDivergedError(TombolaError):
    """A training that a result needs has diverged: a number in it is not finite."""


class JobFailedError(Exception):
    """A job failed for a reason that no user can fix; the cause is its `__cause__`."""


@contextmanager
def naming_keywords() -> Iterator[None]:
    """Let the errors of a function name its keywords, where they name flags; also a decorator."""
    try:
        yield
    except TombolaError as error:
        error._with_flags = error.with_flags
        error.args = (_FLAG.sub(_keyword, str(error)), *error.args[1:])
        raise


@contextmanager
def naming_flags(flags: Collection[str]) -> Iterator[None]:
    """Let the errors of a command name its flags, where they name keywords of several words."""

    def flag(found: re.Match[str]) -> str:
        name = f"--{(found[1] or '').replace('_', '-')}"
        return name if name in flags else found[0]

    try:
        yield
    except TombolaError as error:
        error._with_flags = _SEVERAL_WORDS.sub(flag, error.with_flags)
        raise


def _keyword(found: re.Match[str]) -> str:
    """The keyword of a flag, and a command as it is."""
    flag = found[1]
    return f"`{_KEYWORDS.get(flag, flag.replace('-', '_'))}`" if flag else found[0]


def brief(came: object) -> str:
    """A value as Python writes it, shortened to fit a message."""
    try:
        text = repr(came)
    except (ValueError, RecursionError):  # a number of thousands of digits
        text = f"a {type(came).__name__} that is too long to show"
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def cut(came: object) -> str:
    """A value as quoted text, shortened to fit a message."""
    text = str(came)
    return repr(text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…")


def first_line(error: BaseException) -> str:
    """What an error says in its first line that isn't empty; its type, if it says nothing."""
    said = (line.strip() for line in str(error).splitlines())
    return next(filter(None, said), type(error).__name__)


_BY_NAME: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        *(TombolaError, SpecError, ModelError, DataError, MissingSplitError),
        *(TicketError, OutputError, TrainingDivergedError),
    )
}
"""The errors that one process can send to another."""


def sent_name(error: Exception) -> str:
    """What a process calls an error for `rebuild_error` in another process: the nearest class of
    the tree above, as other modules have their own subclasses."""
    kinds = (kind for kind in type(error).__mro__ if kind in _BY_NAME.values())
    return next(kinds, type(error)).__name__


def rebuild_error(name: str, message: str) -> Exception:
    """The error that another process has sent; a RuntimeError, if it isn't a TombolaError."""
    kind = _BY_NAME.get(name)
    return kind(message) if kind else RuntimeError(f"{name}: {message}")
