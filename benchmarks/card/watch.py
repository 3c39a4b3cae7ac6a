"""Times, memory and profile of a training, taken between its steps."""

import statistics
import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from card.guard import say
from card.rows import Row

__all__ = ["Watch", "synchronize"]

WAITS = (
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "cudaStreamSynchronize",
)
"""Calls in which the processor waits for the card."""
READS = ("aten::_local_scalar_dense",)
"""Operators that make a number of a tensor, on the processor's tensors as well."""
LAUNCHES = ("cudaGraphLaunch", "cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel")
SETTLED = 2
"""Steps of the last epoch before the first that is profiled."""


def synchronize() -> None:
    """Wait for the card, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Watch:
    """Called after each step of a training with the number of steps done.

    The card is waited for at the marks of the row and around the profiled steps only.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.times: list[float] = []
        self.found: dict[str, Any] = {}
        self.start = row.marks[-1] + SETTLED
        self.profiler: Any = None

    def __call__(self, done: int) -> None:
        """Read the clock, or start or stop the profiler, if it's time."""
        if done in self.row.marks:
            synchronize()
            self.times.append(time.perf_counter())
            if done == self.row.marks[-1]:
                self.found |= peaks()
                say(
                    f"{self.row.precision}: {self.report()['tokens_a_second']:,.0f} tokens a second"
                )
        elif done in (self.start, self.start + self.row.profiled):
            try:
                self._profile()
            except Exception as error:  # of the profiler only, so that the times are not lost
                self.found["profile"] = {"failed": f"{type(error).__name__}: {error}"}

    def _profile(self) -> None:
        """Start the profiler, or stop it and read what it has seen."""
        if self.profiler is None:
            self.profiler = begun()
        else:
            self.found["profile"] = seen(ended(self.profiler), self.row.profiled)

    def report(self) -> dict[str, Any]:
        """Everything that was found."""
        seconds = [after - before for before, after in pairwise(self.times)]
        median = statistics.median(seconds)
        tokens = int(self.row.examples.lengths.sum())
        return {
            "seconds": seconds,
            "seconds_a_step": median / self.row.epoch,
            "tokens": tokens,
            "tokens_a_second": tokens / median,
            **self.found,
        }


def peaks() -> dict[str, int]:
    """Largest memory of this process on the card, in bytes."""
    if not torch.cuda.is_available():
        return {"peak_allocated": 0, "peak_reserved": 0}
    return {
        "peak_allocated": torch.cuda.max_memory_allocated(),
        "peak_reserved": torch.cuda.max_memory_reserved(),
    }


# --- profile -----------------------------------------------------------------


def begun() -> Any:
    """A profiler that has started."""
    synchronize()
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    profiler = profile(activities=activities)
    profiler.start()
    return profiler


class Event(NamedTuple):
    """What the profiler has seen once."""

    device: str
    name: str
    microseconds: float
    annotation: bool = False
    """Whether it only marks a stretch in which kernels ran."""


def ended(profiler: Any) -> list[Event]:
    """What a profiler has seen, as it comes; torch's own lists of it take half a minute."""
    synchronize()
    profiler.stop()
    return [
        Event(
            event.device_type().name,
            event.name(),
            event.duration_ns() / 1e3,
            event.is_user_annotation(),
        )
        for event in profiler.profiler.kineto_results.events()
    ]


def seen(events: list[Event], steps: int) -> dict[str, Any]:
    """Waits and launches of a step, and the kernels by the time that they took.

    What the profiler itself does is taken off: it waits for the card at its end.
    """
    own = _calls(ended(begun()))
    calls = _calls(events)
    calls.subtract({name: own[name] for name in own if name in calls})
    took: dict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    for event in events:
        if event.device == "CUDA" and not event.annotation:
            took[event.name] += event.microseconds
            count[event.name] += 1
    kernels = sum(n for name, n in count.items() if not name.startswith(("Memcpy", "Memset")))
    most = sorted(took, key=lambda name: -took[name])
    return {
        "steps": steps,
        "waits_a_step": sum(calls[name] for name in WAITS) / steps,
        "kernels_a_step": kernels / steps,
        "launches_a_step": sum(calls[name] for name in LAUNCHES) / steps,
        "milliseconds_of_kernels_a_step": sum(took.values()) / steps / 1e3,
        "calls_a_step": {name: n / steps for name, n in sorted(calls.items()) if n},
        "kernels": [
            {
                "name": name,
                "milliseconds_a_step": took[name] / steps / 1e3,
                "a_step": count[name] / steps,
            }
            for name in most[:15]
        ],
    }


def _calls(events: list[Event]) -> Counter[str]:
    """How often the processor waited, read a number and launched."""
    names = {*WAITS, *READS, *LAUNCHES}
    return Counter(event.name for event in events if event.device == "CPU" and event.name in names)
