"""The command line: finds the verb, runs it, and turns what happened into an exit status.

Exit status: 0 for success, 1 if a job of a plan failed or a store is damaged, 2 for anything that
the user can fix, 130 after Ctrl-C, 143 after SIGTERM, 129 if the terminal was closed.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

from tombola.base.errors import TombolaError, cut, naming_flags
from tombola.base.files import FREE_SPACE
from tombola.base.registry import unknown
from tombola.base.text import printable
from tombola.cli.streams import complain, drop_bad_columns, open_streams, whole_output
from tombola.cli.thread_waiting import load_share, waiting

__all__ = ["main"]


class _About(NamedTuple):
    """What the overview says of a verb, so that its file need not be loaded for it."""

    file: str
    """Module of `tombola.cli.verbs` that defines it."""
    line: str
    """What it does."""


VERBS = {
    "find": _About("search", "find a ticket and compare it with the dense network and controls"),
    "evaluate": _About("search", "train a ticket on a task with fresh seeds"),
    "train": _About("search", "train a ticket on a task and keep the trained network"),
    "inspect": _About(
        "tickets", "show what is in a ticket, or what a scope would prune of a model"
    ),
    "import": _About("tickets", "make a ticket from existing masks or pruned weights"),
    "merge": _About("tickets", "make one ticket from several: union, intersection or majority"),
    "push": _About("sharing", "send a ticket to the hub, a URL or a folder"),
    "pull": _About("sharing", "fetch a ticket from the hub, a URL or a folder"),
    "export": _About("sharing", "write a trained network as an ONNX file"),
    "bench": _About("bench", "measure how fast a network runs under its ticket"),
    "run": _About("plans", "run all unfinished experiments of a plan"),
    "status": _About("plans", "show how far a plan has got"),
    "matching": _About("verdicts", "show which networks of a plan match the dense network"),
    "leaderboard": _About("verdicts", "rank the finders of a plan: score, verdict, cost"),
    "transfer": _About("verdicts", "show how the tickets of each task do on the other tasks"),
    "claims": _About("verdicts", "check a plan against each claim of the paper"),
    "connectivity": _About("masks", "show the barriers between runs with different data orders"),
    "table": _About("table", "export every run of a plan as CSV, Parquet, LaTeX or Markdown"),
    "report": _About("report", "write a search or a plan as one HTML file"),
    "overlap": _About("masks", "show how much masks overlap, compared with chance"),
    "distance": _About("masks", "show how far training moved each matrix"),
    "store": _About("store", "list, show, verify or tidy stored results"),
    "finders": _About("catalog", "list the ways to find a ticket"),
    "tasks": _About("catalog", "list the built-in tasks"),
    "models": _About("catalog", "list the embedded models"),
    "plans": _About("catalog", "list the built-in plans, or print one as YAML"),
    "completion": _About("completion", "print a script with which a shell completes commands"),
}
"""Verb -> the file that defines it and a line about it; only the file that is needed is loaded."""

HEADINGS = {
    "find": "A ticket",
    "run": "A plan: several tasks, seeds and finders",
    "report": "Results",
    "finders": "What comes with tombola",
}
"""First verb of a group in the overview -> the heading above it."""


def _overview() -> str:
    verbs = "\n".join(
        f"\n{HEADINGS[name]}:\n{line}" if name in HEADINGS else line
        for name, line in ((name, f"  {name:14}{about}") for name, (_, about) in VERBS.items())
    )
    return (
        "usage: tombola VERB [flags]\n\n"
        "Lottery tickets for pre-trained transformers: find, test and transfer them.\n\n"
        f"{verbs.lstrip()}\n\n"
        "`tombola VERB --help` shows the flags of a verb, `tombola --version` the versions."
    )


def _run(argv: Sequence[str]) -> int:
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return 0
    if verb == "--version":
        from tombola.cli.versions import versions

        print("\n".join(versions()))
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    return _do(verb, argv[1:])


def _do(verb: str, argv: Sequence[str]) -> int:
    """Load the file of a verb, parse its flags, and run it."""
    from tombola.cli.arguments import check_json
    from tombola.cli.launchers import refuse_launchers
    from tombola.cli.parser import Parser, Verb

    file, about = VERBS[verb]
    verbs: dict[str, Verb] = import_module(f"tombola.cli.verbs.{file}").VERBS
    add_flags, run = verbs[verb]
    parser = Parser(
        prog=f"tombola {verb}", description=f"{about[0].upper()}{about[1:]}.", given=argv
    )
    add_flags(parser)
    with naming_flags(parser.flags()):
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
"""Keeps the libraries' own logs and progress bars out of ours, here and in every worker."""


TRAIN = ("find", "evaluate", "train", "run")
"""The verbs that keep finished jobs when they are stopped."""


PERMISSION = "Change its permissions, or use another"
FILES = "Raise the limit with `ulimit -n`"
REMEDIES = {
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.ENAMETOOLONG: "Use a shorter name",
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EROFS: "Choose a place that can be written to",
    errno.EIO: "Check the disk, or use another place",
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
}
"""Error of the system that is no bug -> what to do about it."""


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Make SIGTERM (a batch system) and SIGHUP (a closed terminal) stop the work as Ctrl-C does.

    Yields: the signals received so far.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    current = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    before = {s: handler for s, handler in current.items() if handler not in (signal.SIG_IGN, None)}
    for each in before:
        signal.signal(each, stop)
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `tombola`: run one verb, and return the exit status."""
    for name, value in {**QUIET, **waiting(os.environ, load_share())}.items():
        os.environ.setdefault(name, value)
    open_streams()
    drop_bad_columns()
    given = sys.argv[1:] if argv is None else argv
    with _stopping() as signals:
        return _guarded(given, signals)


def _guarded(given: Sequence[str], signals: Sequence[int]) -> int:
    """Run one verb; an error that the user can fix becomes one line."""
    try:
        with whole_output():
            return _run(given)
    except TombolaError as error:
        complain(printable(error.with_flags))
        return 2
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        file = "a file" if error.filename is None else cut(error.filename)
        got, remedy = os.strerror(error.errno), REMEDIES[error.errno]
        complain(printable(f"expected to read or write {file}, got: {got}. {remedy}."))
        return 2
    except KeyboardInterrupt:
        kept = "Finished jobs are kept; run the same command to continue."
        complain(f"stopped. {kept}" if given and given[0] in TRAIN else "stopped.")
        return 128 + (signals[0] if signals else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
