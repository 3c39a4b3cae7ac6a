"""The command line: which verb is meant, and what its end means to a shell.

Exit status: 0 done, 1 if a job of a plan has failed or a store is damaged, 2 for anything that the
user can mend, 130 after Ctrl-C, 143 after SIGTERM, 129 where the terminal was closed.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

from tombola import __version__
from tombola.base.errors import TombolaError
from tombola.base.registry import unknown
from tombola.base.text import printable
from tombola.cli.streams import complain, open_streams, whole_output
from tombola.cli.thread_waiting import load_share, waiting

__all__ = ["main"]


class _About(NamedTuple):
    """A verb before its file is loaded."""

    file: str
    """Module of `tombola.cli.verbs` that has it."""
    line: str
    """What it does, for the overview."""


VERBS = {
    "find": _About("search", "find a ticket, and compare it with dense and controls"),
    "evaluate": _About("search", "train a ticket on a task with fresh seeds"),
    "inspect": _About("tickets", "sparsity per matrix, provenance and size of a ticket"),
    "import": _About("tickets", "a ticket from others' masks or zeros"),
    "run": _About("plans", "do what is left of a plan: a table or a figure"),
    "status": _About("plans", "how far a plan is"),
    "matching": _About("verdicts", "which networks of a plan match dense, and where"),
    "transfer": _About("verdicts", "how the tickets of each task fare on the others"),
    "claims": _About("verdicts", "what becomes of each claim of the paper"),
    "table": _About("table", "every run of a plan as CSV, Parquet, LaTeX, Markdown"),
    "store": _About("store", "list, show, verify or tidy finished results"),
    "overlap": _About("masks", "how much masks overlap, beside chance"),
    "distance": _About("masks", "how far training has moved each matrix"),
    "connectivity": _About("masks", "barriers between data orders"),
    "report": _About("report", "one HTML file of a search or a plan"),
    "tasks": _About("catalog", "the tasks that can be named"),
    "models": _About("catalog", "the models that the package carries"),
}
"""Verb -> where it is, and what it does; only the one that is used is loaded."""


def _overview() -> str:
    verbs = "\n".join(f"  {name:14}{about}" for name, (_, about) in VERBS.items())
    return (
        "usage: tombola VERB [flags]\n\nLottery tickets for pre-trained transformers.\n\n"
        f"{verbs}\n\n`tombola VERB --help` tells the flags of a verb; `tombola --version`, "
        "the version."
    )


def _run(argv: Sequence[str]) -> int:
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return 0
    if verb == "--version":
        print(f"tombola {__version__}")
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    return _do(verb, argv[1:])


def _do(verb: str, argv: Sequence[str]) -> int:
    """Load the file of a verb, read its flags, and do it."""
    from tombola.cli.arguments import check_json
    from tombola.cli.launchers import refuse_launchers
    from tombola.cli.parser import Parser, Verb

    file, about = VERBS[verb]
    verbs: dict[str, Verb] = import_module(f"tombola.cli.verbs.{file}").VERBS
    add_flags, run = verbs[verb]
    parser = Parser(prog=f"tombola {verb}", description=f"{about[0].upper()}{about[1:]}.")
    add_flags(parser)
    options = parser.read(argv)
    if "--processes" in parser.flags():
        refuse_launchers(os.environ)
    check_json(getattr(options, "json", None))
    return run(options) or 0


QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Keeps the libraries' own reports and progress bars out of ours, here and in every worker."""


TRAIN = ("find", "evaluate", "run")
"""The verbs that keep what they have finished."""


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Let a batch system that wants its machine back, and a terminal that is closed, stop the work
    as Ctrl-C does; the numbers of the signals that came."""
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    there = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    before = {s: handler for s, handler in there.items() if handler not in (signal.SIG_IGN, None)}
    for each in before:
        signal.signal(each, stop)
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the console script `tombola`."""
    for name, value in {**QUIET, **waiting(os.environ, load_share())}.items():
        os.environ.setdefault(name, value)
    open_streams()
    given = sys.argv[1:] if argv is None else argv
    with _stopping() as signals:
        return _guarded(given, signals)


def _guarded(given: Sequence[str], signals: Sequence[int]) -> int:
    """Run one verb; whatever a user can mend is one line."""
    try:
        with whole_output():
            return _run(given)
    except TombolaError as error:
        complain(printable(error))
        return 2
    except KeyboardInterrupt:
        kept = "What was finished is kept; the same command goes on."
        complain(f"stopped. {kept}" if given and given[0] in TRAIN else "stopped.")
        return 128 + (signals[0] if signals else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
