"""The verb `completion`, which prints a script for a shell."""

from argparse import Namespace

from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def completion_flags(parser: Parser) -> None:
    parser.add_argument("shell", metavar="bash|zsh|fish", help="The shell that completes")


def completion(options: Namespace) -> None:
    from tombola.cli.completion import completion_script

    print(completion_script(options.shell), end="")


VERBS = {"completion": Verb(completion_flags, completion)}
