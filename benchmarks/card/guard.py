"""Calls in processes of their own, within the seconds that are left."""

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from protocol import fresh

__all__ = ["Guard", "say"]

NEEDED = ("card", "random network")
"""Parts that others need."""


class Guard:
    """Gives each part of a benchmark a process, and says in one line how it ended."""

    def __init__(
        self,
        seconds: float,
        least: float,
        only: str = "",
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to count.

        Args:
            seconds: for all parts together.
            least: seconds that must be left for a part to begin at all.
            only: parts without this in their names are left out, but for those that others need.
            before: called before each part, to write what the others have found.
        """
        self.end = time.monotonic() + seconds
        self.least = least
        self.only = only
        self.before = before
        self.failed: dict[str, str] = {}

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def __call__(self, name: str, do: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """What a function returns; None, if it fails, takes too long, or no time is left."""
        began = time.monotonic()
        if self.only not in name and name not in NEEDED:
            return None
        self.before()
        if self.left < self.least:
            return self._lost(name, "skipped, no time left")
        context = fresh()
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(there, do, arguments, more), daemon=True)
        process.start()
        there.close()
        try:
            if not here.poll(self.left):
                return self._lost(name, f"ended after {time.monotonic() - began:.0f} s")
            fine, answer = here.recv()
        except EOFError:
            process.join(5)
            return self._lost(name, f"its process ended with {process.exitcode}")
        finally:
            process.join(0 if self.left <= 0 else 5)
            process.kill()
        if not fine:
            return self._lost(name, *answer)
        say(f"{name}: {time.monotonic() - began:.1f} s")
        return answer

    def _lost(self, name: str, why: str, trace: str = "") -> None:
        self.failed[name] = trace or why
        say(f"{name}: {why}")


def _answer(pipe: Any, do: Callable[..., Any], arguments: Any, more: Any) -> None:
    """Call, and send what comes of it or what went wrong."""
    try:
        pipe.send((True, do(*arguments, **more)))
    except BaseException as error:
        first = (str(error).strip().splitlines() or [""])[0]
        pipe.send((False, (f"{type(error).__name__}: {first[:300]}", traceback.format_exc())))


def say(line: str) -> None:
    """Tell how far the benchmark is."""
    print(line, file=sys.stderr, flush=True)
