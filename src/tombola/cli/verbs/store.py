"""The verb `store`, which lists, shows, verifies and tidies finished results."""

import dataclasses
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tombola.base.errors import SpecError, cut
from tombola.base.registry import unknown
from tombola.base.text import counted
from tombola.cli.arguments import STDOUT, json_flag, store_flag, store_of, write_json
from tombola.cli.parser import Parser, Verb

if TYPE_CHECKING:
    from tombola.lab.progress.screen import Screen
    from tombola.lab.store.result_store import Store

__all__ = ["VERBS"]

ACTIONS = {
    "list": ("--kind", "--task"),
    "show": ("KEY",),
    "verify": (),
    "gc": (),
    "forget": ("KEY", "--numerics", "--dependants", "--dry-run"),
}
"""Action -> what it takes, besides --store and --json."""


def store_flags(parser: Parser) -> None:
    """Add the flags of `tombola store`."""
    parser.add_argument("action", metavar="list|show|verify|gc|forget", help="What to do")
    parser.add_argument(
        "keys",
        metavar="KEY",
        nargs="*",
        default=[],
        help="For show and forget: the first digits of a key are enough",
    )
    store_flag(parser)
    parser.add_argument(
        "--kind",
        metavar="NAME",
        help="For list: only results of this kind (train, score, prune or interpolate)",
    )
    parser.add_argument("--task", metavar="NAME", help="For list: only results of this task")
    parser.add_argument(
        "--numerics", metavar="DIGEST", help="For forget: all results with these numerics"
    )
    parser.add_argument(
        "--dependants", action="store_true", help="For forget: what was made from them as well"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="For forget: list what would go, and exit"
    )
    json_flag(parser, bare=True)


def store(options: Namespace) -> int:
    """List, show, verify or tidy a store; exit status 1 if something is damaged."""
    from tombola.cli.show.screen import screen
    from tombola.cli.show.store import show_listing
    from tombola.lab.progress.screen import say

    if options.action not in ACTIONS:
        raise unknown("store action", options.action, ACTIONS)
    _refuse_others(options)
    console, store = screen(options.json), store_of(options)
    if options.action == "list":
        wanted = {k: v for k in ("kind", "task") if (v := getattr(options, k)) is not None}
        rows = [row for row in store.rows() if all(row.get(k) == v for k, v in wanted.items())]
        if not write_json(options.json, rows):
            show_listing(rows, console)
            if not rows:
                say(console, f"no such results in {store.folder}" if wanted else "no results")
    elif options.action == "show":
        shown = _shown(store, options.keys)
        if not write_json(options.json, shown):
            write_json(STDOUT, shown)
    elif options.action == "verify":
        return _verify(store, options, console)
    elif options.action == "forget":
        _forget(store, options, console)
    else:
        from tombola.lab.store.garbage import collect

        freed = collect(store)
        write_json(options.json, freed)
        for what, count in freed.items():
            say(console, f"{what.replace('_', ' '):16} {count:,}")
        if store.wanted():
            say(console, "a plan is running: the weights that it needs are kept")
    return 0


def _refuse_others(options: Namespace) -> None:
    """Refuse keys and flags that the action doesn't take.

    Raises: SpecError.
    """
    given = {
        "KEY": options.keys,
        "--kind": options.kind is not None,
        "--task": options.task is not None,
        "--numerics": options.numerics is not None,
        "--dependants": options.dependants,
        "--dry-run": options.dry_run,
    }
    for name, there in given.items():
        if there and name not in ACTIONS[options.action]:
            takers = " and ".join(each for each, taken in ACTIONS.items() if name in taken)
            got = cut(options.keys[0]) if name == "KEY" else "one"
            raise SpecError(
                f"expected no {name} after `store {options.action}`, got {got}. Leave it out: "
                f"{name} is for {takers}."
            )


def _verify(store: "Store", options: Namespace, console: "Screen") -> int:
    """List what is wrong, and count the damaged results; exit status 1 if there are any."""
    from tombola.lab.progress.screen import say
    from tombola.lab.store.damage import damage_in

    found, keys = list(damage_in(store)), store.keys()
    wrong = [{"name": key, "what": what} for key, what in found]
    write_json(options.json, {"results": len(keys), "wrong": wrong})
    for key, what in found:
        say(console, f"{key[:12] if key in keys else key} {what}")
    damaged = {key for key, _ in found} & keys
    others = len({key for key, _ in found} - keys)
    more = f", and {counted(others, 'other thing')} wrong" if others else ""
    say(console, f"{len(damaged)} of {len(keys)} results are damaged{more}")
    return 1 if found else 0


def _forget(store: "Store", options: Namespace, console: "Screen") -> None:
    """Remove results, or only list them; show what was made from them."""
    from tombola.lab.progress.screen import say
    from tombola.lab.store.deletion import chosen, dependants, forget, made_with

    if bool(options.keys) == (options.numerics is not None):
        raise SpecError(
            "expected keys or --numerics after `forget`, got "
            f"{'both' if options.keys else 'neither'}. `{store.command('list')}` shows the keys."
        )
    keys = chosen(store, options.keys) if options.keys else made_with(store, options.numerics)
    below = dependants(store, keys)
    if options.dependants:
        keys, below = [*keys, *below], {}
    for key in keys:
        result = store.try_read(key)
        say(console, f"{key[:12]}  {result.label if result else 'damaged'}")
    for key, result in below.items():
        say(console, f"{key[:12]}  {result.label}: made from these, and kept")
    if below:
        say(console, "`--dependants` forgets those as well.")
    write_json(options.json, {"keys": keys, "dependants": list(below), "dry_run": options.dry_run})
    if options.dry_run:
        say(console, f"{len(keys)} results would be forgotten; none was")
        return
    forget(store, keys)
    say(console, f"{len(keys)} results forgotten, with their weights and checkpoints")


def _shown(store: "Store", starts: Sequence[str]) -> dict[str, Any]:
    """Everything known about the one result whose key starts with the given digits."""
    from tombola.lab.store.key_prefix import key_with_prefix

    listing = store.command("list")
    if len(starts) != 1:
        got = "several" if starts else "none"
        raise SpecError(f"expected one key after `show`, got {got}. `{listing}` shows the keys.")
    key = key_with_prefix(store, starts[0], [row["key"] for row in store.rows()])
    result = store.read(key)
    if result is None:  # removed since the index was read
        raise SpecError(f"expected a result {key[:12]}, got none. `{listing}` shows the keys.")
    return dataclasses.asdict(result)


VERBS = {
    "store": Verb(store_flags, store),
}
