"""bench(): the speed, memory and score of a network under its ticket, next to other runtimes."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import torch

from tombola.api.bench.machine import machine
from tombola.api.bench.network import Scored, load_scored, load_subject
from tombola.api.bench.scoring import score
from tombola.api.bench.timing import Timing, times, timings
from tombola.api.given import text_of, ticket_or_path
from tombola.base.errors import ModelError, SpecError, TombolaError, first_line, naming_keywords
from tombola.base.fields import StrPath
from tombola.base.json_text import plain
from tombola.base.specs import BenchSpec
from tombola.base.text import counted, printable
from tombola.models.tokenizer import reserved_positions
from tombola.ship.compiled.runtimes import RUNTIMES, BenchedNetwork, Runnable
from tombola.ticket.ticket import Ticket

__all__ = ["BenchmarkResult", "Shape", "bench"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The measurements for calls of one batch size and length."""

    batch_size: int
    length: int
    timings: dict[str, Timing]
    """Runtime -> how fast it is."""

    @property
    def lost(self) -> str | None:
        """A line on a runtime faster than all that use the ticket; None if there is none."""
        sides: dict[bool, list[str]] = {True: [], False: []}
        for name in self.timings:
            sides[RUNTIMES[name].uses_ticket].append(name)
        if not all(sides.values()):
            return None
        ours, theirs = (min(side, key=self._median) for side in (sides[True], sides[False]))
        ratio = self._median(ours) / self._median(theirs)
        if ratio <= 1:
            return None
        return (
            f"{counted(self.batch_size, 'text')} of {self.length} tokens: {theirs} is "
            f"{ratio:.2f} times as fast as {ours}"
        )

    def _median(self, name: str) -> float:
        return self.timings[name].median_ms


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """How a network runs under its ticket, next to other ways to run it."""

    shapes: list[Shape]
    megabytes: dict[str, float]
    """Runtime -> size of its weights in millions of bytes, for the first shape."""
    scores: dict[str, float]
    """Runtime -> points of the task's metric; empty if the network was not scored."""
    scored: dict[str, Any]
    """Task, metric, split and number of examples of the scores."""
    sparsity: Decimal
    machine: dict[str, Any]
    """Processor, instruction set, threads, load before the run, versions."""
    notes: list[str] = field(default_factory=list)
    """Runtimes that are missing, and why; and why there are no scores."""

    @property
    def lost(self) -> list[str]:
        """Where the ticket does not win, a line for each batch size and length."""
        return [line for shape in self.shapes if (line := shape.lost)]

    def to_json(self) -> dict[str, Any]:
        """The comparison as `tombola bench --json` writes it."""
        return {**plain(asdict(self)), "lost": self.lost}


@naming_keywords()
def bench(
    source: Ticket | StrPath,
    *,
    model: StrPath | None = None,
    data: StrPath | None = None,
    batch_sizes: Sequence[int] = BenchSpec.batch_sizes,
    lengths: Sequence[int] = BenchSpec.lengths,
    runtimes: Sequence[str] = BenchSpec.runtimes,
    rounds: int = BenchSpec.rounds,
    seconds: float = BenchSpec.seconds,
    threads: int | None = BenchSpec.threads,
    examples: int = BenchSpec.examples,
) -> BenchmarkResult:
    """Measure the speed of a network under its ticket, next to other ways to run it on this CPU.

    Networks are called in turn, so that other work on the machine slows all of them alike.

    Args:
        source: folder of a trained network, or what `tombola.train` returned; or a ticket, its
            folder, or what `find` returned for one seed, whose pre-trained network is then run.
        model: where a ticket's network is, if not under the name that the ticket gives.
        data: where the task's files are, if not in the package.
        batch_sizes: texts in a call.
        lengths: tokens of each text.
        runtimes: names in RUNTIMES; speeds are relative to the first. By default all that are
            installed.
        rounds: calls of each runtime, for each batch size and length.
        seconds: time limit for the rounds of one batch size and length; at least three are done.
        threads: threads of each call; by default torch's own number.
        examples: how many examples of the task's dev split a trained network is scored on; 0 is
            none.

    Raises: TombolaError, if one of them can't be used.
    """
    spec = BenchSpec(
        batch_sizes=tuple(batch_sizes),
        lengths=tuple(lengths),
        runtimes=tuple(runtimes),
        rounds=rounds,
        seconds=float(seconds),
        threads=threads,
        examples=examples,
    )
    chosen = _runtimes(spec)
    source = ticket_or_path(source, "a ticket, its folder, or that of a trained network")
    subject = load_subject(source, text_of(model))
    _check_lengths(subject, spec)
    with _threads(spec.threads):
        scored = load_scored(source, spec.examples, text_of(data))
        return _benched(subject, spec, chosen, scored)


def _runtimes(spec: BenchSpec) -> list[str]:
    """The names of the runtimes to measure.

    Raises: SpecError, if there is none of such a name.
    """
    chosen = [*spec.runtimes] or [*RUNTIMES]
    for name in chosen:
        RUNTIMES[name]
    return chosen


def _benched(
    subject: BenchedNetwork, spec: BenchSpec, chosen: list[str], scored: Scored | str
) -> BenchmarkResult:
    facts = machine()
    notes = [] if isinstance(scored, Scored) else [scored]
    shapes: list[Shape] = []
    made: dict[str, Runnable] = {}
    megabytes: dict[str, float] = {}
    scores: dict[str, float] = {}
    for batch_size in spec.batch_sizes:
        for length in spec.lengths:
            made = _make(subject, chosen, batch_size * length, made, notes)
            if not shapes:
                megabytes = {name: each.bytes / 1e6 for name, each in made.items()}
            shapes.append(_shape(subject, made, spec, batch_size, length))
    if isinstance(scored, Scored):
        scores = {
            name: score(each, scored.network, scored.task, scored.examples)
            for name, each in made.items()
        }
    return BenchmarkResult(
        shapes=shapes,
        megabytes=megabytes,
        scores=scores,
        scored=_about(scored) if isinstance(scored, Scored) else {},
        sparsity=subject.ticket.sparsity,
        machine=facts,
        notes=notes,
    )


def _about(scored: Scored) -> dict[str, Any]:
    return {
        "task": scored.task.name,
        "metric": scored.task.metric,
        "split": scored.split,
        "examples": len(scored.examples),
    }


def _make(
    subject: BenchedNetwork,
    chosen: list[str],
    tokens: int,
    before: dict[str, Runnable],
    notes: list[str],
) -> dict[str, Runnable]:
    """The networks for calls of this many tokens; what is missing is noted, and left out next time.

    Raises: SpecError, if nothing is left.
    """
    found: dict[str, Runnable] = {}
    for name in [*before] or chosen:
        if name in before and not RUNTIMES[name].uses_ticket:
            found[name] = before[name]
            continue
        before.pop(name, None)  # so that there is memory for the next one
        gc.collect()
        try:
            found[name] = _try(subject, name, tokens)
        except TombolaError as error:
            notes.append(f"{name} is left out: {error}")
    if not found:
        raise SpecError(f"expected a runtime that works here, got none: {notes[-1]}")
    return found


def _try(subject: BenchedNetwork, name: str, tokens: int) -> Runnable:
    """A network that has been called once.

    Raises: TombolaError, saying what is missing, or how the call failed.
    """
    made = RUNTIMES[name].make(subject, tokens)
    try:
        with torch.inference_mode():
            made.call(**subject.inputs(1, min(8, tokens)))
    except Exception as error:  # of another program that can't run this network
        reason = printable(first_line(error))[:200].rstrip(". ")
        raise ModelError(f"it fails on this network: {type(error).__name__}, {reason}.") from error
    return made


def _shape(
    subject: BenchedNetwork,
    made: Mapping[str, Runnable],
    spec: BenchSpec,
    batch_size: int,
    length: int,
) -> Shape:
    inputs = subject.inputs(batch_size, length)
    found = times(made, inputs, rounds=spec.rounds, seconds=spec.seconds)
    first = next(iter(made))
    return Shape(
        batch_size=batch_size,
        length=length,
        timings=timings(found, batch_size * length, first),
    )


def _check_lengths(subject: BenchedNetwork, spec: BenchSpec) -> None:
    """Refuse texts for which a network has no positions.

    Raises: SpecError.
    """
    rows = getattr(subject.model.config, "max_position_embeddings", None) or 0
    most = rows - reserved_positions(subject.model)
    if 0 < most < max(spec.lengths):
        raise SpecError(
            f"expected lengths of at most {most} tokens, the network's positions, got "
            f"{max(spec.lengths)}. Use shorter ones."
        )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
