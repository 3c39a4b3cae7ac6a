"""Verdicts, transfer matrices and claims in a terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from tombola.base.rounding import interval, percent, points
from tombola.base.text import counted, task_text
from tombola.cli.show.grid import Grid
from tombola.lab.progress.screen import say
from tombola.study.claims.claim import Claim, PartResult
from tombola.study.leaderboard.board import Board, BoardEntry, Leaderboard
from tombola.study.report_facts.answers import highest_text
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import ONE_SEED, SEEDS_MISSING
from tombola.study.verdicts.dense_spread import DenseSpread
from tombola.study.verdicts.matching import Matching, NetworkVerdict
from tombola.study.verdicts.transfer import MeanDifference, TransferMatrix, TransferRow
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED

__all__ = [
    "show_claims",
    "show_claims_by_plan",
    "show_leaderboard",
    "show_matching",
    "show_transfer",
    "show_unfinished",
]

MOST_MISSING = 3
"""Gaps that are listed; the rest is only counted."""
MINUS = ("minus one-shot", "90 % interval")
OUTLOOK = "undecided: how likely the difference is below/within/above the margin, in percent."
COST = "trainings: search and ticket, in trainings of dense."


def _heading(plan: str) -> tuple[str, str]:
    """The line above what is about one of several plans."""
    return f"plan {plan}", "bold"


def show_matching(found: Matching, console: Console, *, by_plan: bool = False) -> None:
    """Show a line for each network, then what they say together; or that of each plan."""
    if not by_plan:
        _show_matching(found, console)
        return
    for name, mine in found.by_plan().items():
        say(console, _heading(name))
        _show_matching(mine, console)


def _show_matching(found: Matching, console: Console) -> None:
    table = Grid(
        ("network", "task"),
        ("sparsity", "seeds", "minus dense", "90 % interval"),
        ("verdict", "sd"),
        frame=None,
    )
    for each in found.judged:
        table.add(*_network(each))
    table.show(console)
    say(
        console,
        "sd: within one standard deviation of dense / pooled, the paper's two rules; no tests.",
    )
    _show_components(found, console)
    if any(each.verdict and each.verdict.seeds == 1 for each in found.judged):
        say(console, "*: this run only, over test examples; it says nothing about other seeds.")
    _show_outlook(found, console)
    _show_reasons(found, console)
    _show_highest(found, console)
    for family in found.families:
        source = f" from {family.source}" if family.source else ""
        at = ", ".join(map(percent, family.sparsities))
        say(console, f"{family.arm}, {family.name}{source} at {at}: {family.answer.sentence()}")
    for spread in found.spreads:
        say(console, _spread(spread))
        if spread.warning:
            say(console, f"note on {spread.task}: {spread.warning}")


def _show_components(found: Matching, console: Console) -> None:
    """Show what seeds and test examples each add to the uncertainty, where both are known."""
    known = [(each, each.components) for each in found.judged if each.components]
    if not known:
        return
    say(console, "over other test examples, too; standard deviations of single seeds and examples:")
    table = Grid(
        ("network", "task"), ("sparsity", "sd of seeds", "sd of examples", "90 % interval")
    )
    for each, components in known:
        name, task, at, *_ = _network(each)
        sds = points(components.parts.seed_sd), points(components.parts.example_sd)
        table.add(name, task, at, *sds, interval(components.interval))
    table.frame = None
    table.show(console)


def _show_outlook(found: Matching, console: Console) -> None:
    """Explain the numbers of undecided verdicts, and say where one more seed would help most."""
    if not any(each.verdict and each.verdict.outlook for each in found.judged):
        return
    say(console, f"{OUTLOOK} {next_seed_text(found.next_seed)}")


def next_seed_text(most: NetworkVerdict | None, *, name_plan: bool = False) -> str:
    """The undecided network that one more seed would most likely settle, if any."""
    if most is None:
        return "One more seed would settle none of them."
    likely = f"{100 * most.next_seed:.0f} %"
    plan = f" in plan {most.row.plan}" if name_plan else ""
    return f"One more seed would most likely settle {most.pair.about()}{plan} ({likely})."


def _show_reasons(found: Matching, console: Console) -> None:
    """Show why a network has no verdict, or an undecided one."""
    for each in found.judged:
        if each.why and not _missing(each):
            say(console, f"no verdict on {each.pair.about()}: {each.why}.")
        elif each.verdict and each.verdict.reason:
            why = f"{each.verdict.reason}: {each.verdict.detail}"
            say(console, f"undecided on {each.pair.about()}: {why}.")


def _show_highest(found: Matching, console: Console) -> None:
    """Show the highest winning sparsity of each search."""
    for first, sparsity in found.highest:
        if first.row.is_own_ticket:
            text = highest_text(first, sparsity)
            say(console, f"{first.row.title} on {first.row.target}: {text}")


def _network(each: NetworkVerdict) -> tuple[str, ...]:
    """The row of a network: its verdict, or what there is instead."""
    row, verdict = each.row, each.verdict
    there, wanted = len(each.pair.first) - len(each.pair.gaps), len(each.pair.first)
    task = task_text(row.source, row.target)
    what = (row.title, task, percent(each.pair.sparsity), f"{there}/{wanted}")
    if verdict is None:
        none = "diverged" if each.pair.diverged else "none"
        return (*what, "", "", "missing" if _missing(each) else none, "")
    status = f"{verdict.status}{'*' if verdict.seeds == 1 else ''}"
    if verdict.outlook:
        status += f", {'/'.join(map(str, verdict.outlook.whole_percent))}"
    if verdict.seeds_needed:
        status += f", n = {verdict.seeds_needed}"
    rules = (each.within_dense_sd, each.within_pooled_sd)
    within = "" if None in rules else "/".join("yn"[not rule] for rule in rules)
    difference = "" if verdict.difference is None else points(verdict.difference, signed=True)
    return (*what, difference, _interval(verdict.interval), status, within)


def _missing(each: NetworkVerdict) -> bool:
    """Whether none of its runs has been made."""
    return all(row.state == "missing" for row in each.pair.first)


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else interval(ends)


def _spread(found: DenseSpread) -> str:
    text = f"dense on {found.task}: {counted(found.runs, 'run')}"
    if found.sd is not None:
        margin = "not known yet" if found.margin is None else f"{found.margin:g}"
        text += f", sd {points(found.sd)}, margin {margin}"
    if found.seeds_needed is None:
        return f"{text}; ten dense runs would show how many seeds a verdict needs"
    return f"{text}; {found.seeds_needed} seeds settle it for a ticket that equals dense"


def show_leaderboard(found: Leaderboard, console: Console, *, by_plan: bool = False) -> None:
    """Show a table for each board, then whether a winner is shown."""
    plan = None
    for board in found.boards:
        if by_plan and board.plan != plan:
            plan = board.plan
            say(console, _heading(plan))
        say(console, f"{board.title}: {board.metric}")
        table = Grid(
            ("arm",),
            (
                "score",
                "90 % interval",
                "minus dense",
                "minus one-shot",
                "90 % interval",
                "trainings",
                "rank",
            ),
            ("verdict",),
            frame=None,
        )
        for entry in board.entries:
            table.add(*_entry(entry, len(board.entries)))
        table.show(console)
        say(console, _winner(board))
    say(console, f"rank: the best and worst that tests of all pairs leave open. {COST}")
    if any(e.judged.verdict and e.judged.verdict.outlook for b in found.boards for e in b.entries):
        say(console, f"{OUTLOOK} {next_seed_text(found.next_seed, name_plan=by_plan)}")


def _entry(entry: BoardEntry, entries: int) -> tuple[str, ...]:
    judged, cost = entry.judged, entry.cost
    best, worst = entry.ranks
    *_, difference, _, verdict, _ = _network(judged)
    return (
        entry.title,
        "" if entry.mean is None else points(entry.mean),
        "" if entry.score is None else " to ".join(map(points, entry.score[1:])),
        difference,
        " ".join(_estimate(entry.minus_one_shot)[:1]),
        _interval(entry.minus_one_shot.interval) if entry.minus_one_shot else "",
        "" if cost is None else f"{cost.trainings:.3g}",
        "" if entries == 1 else str(best) if best == worst else f"{best} to {worst}",
        verdict,
    )


def _winner(board: Board) -> str:
    if len(board.entries) == 1:
        return "one arm: nothing to rank."
    if board.winner is None:
        return "no winner: no arm is shown to be better than every other (paired t, Holm, 5 %)."
    return f"{board.winner.title} is better than every other (paired t, Holm, 5 %)."


def show_transfer(
    matrices: Iterable[TransferMatrix], console: Console, *, by_plan: bool = False
) -> None:
    """Show two tables for each matrix: minus dense, and minus the target's own tickets."""
    plan = None
    for matrix in matrices:
        if by_plan and matrix.plan != plan:
            plan = matrix.plan
            say(console, _heading(plan))
        at = percent(matrix.sparsity)
        for title, own in (("minus dense", False), ("minus the target's own ticket", True)):
            say(console, f"{matrix.arm}, tickets at {at}: score {title}, 90 % interval")
            table = Grid(("from \\ to",), matrix.targets)
            for row in matrix.sources:
                table.add(row.source, *_places(row, matrix.targets, own=own))
            table.show(console)
        for row in matrix.sources:
            say(
                console,
                f"{row.source}: at least the own ticket's mean on {row.at_least_same_task} of "
                f"{row.compared} targets, within its margin by Holm on "
                f"{len(row.shown_at_least_same_task)}; {row.universality.sentence()}",
            )


def _places(row: TransferRow, targets: Sequence[str], *, own: bool) -> list[list[str]]:
    found = {each.target: each for each in row.places}
    cells: list[list[str]] = []
    for target in targets:
        place = found.get(target)
        if place is None:
            cells.append([])
        else:
            cells.append(_estimate(place.minus_same_task if own else place.minus_dense))
    return cells


def _estimate(found: MeanDifference | None) -> list[str]:
    if found is None:
        return []
    if found.mean is None:
        return ["diverged" if found.diverged else "missing"]
    lines = [points(found.mean, signed=True)]
    if found.gaps:
        lines.append(f"{found.seeds} of {found.seeds + len(found.gaps)} seeds")
    else:
        lines.append(_interval(found.interval) or "one seed")
    if found.reason and found.reason not in (SEEDS_MISSING, ONE_SEED):  # the line above says so
        lines.append(found.reason)
    if found.published is not None:
        lines.append(f"paper {points(found.published, signed=True)}")
    return lines


def show_claims(found: Iterable[Claim], console: Console) -> None:
    """Show each claim, whether it is reproduced, and what that rests on."""
    colours = {"reproduced": "green", "contradicted": "red", "undecided": "yellow"}
    for claim in found:
        lead = f"{claim.id} {claim.status}"
        why = f" ({claim.reason})" if claim.reason == DENSE_HAS_NOT_LEARNED else ""
        say(console, (lead, f"bold {colours[claim.status]}"), f"{why}: {claim.claim}")
        for part in claim.parts:
            text = f"{part.status}: {part.says}" if len(claim.parts) > 1 else part.says
            for line in (text, *_evidence(part)):
                say(console, f"  {line}")


def show_claims_by_plan(plans: Mapping[str, Sequence[Claim]], console: Console) -> None:
    """Show how each plan alone decides each claim, where it has runs that bear on it."""
    say(console, "each plan alone; empty: it has no run that bears on the claim")
    table = Grid(("plan",), (), [f"claim {claim.id}" for claim in next(iter(plans.values()))])
    table.frame = None
    for name, every in plans.items():
        table.add(name, *(claim.status if claim.tested else "" for claim in every))
    table.show(console)


def _evidence(part: PartResult) -> list[str]:
    """What a part of a claim rests on, and what it lacks."""
    lines = []
    if part.effect is not None:
        effect = f"{points(part.effect, signed=True)} {part.unit} ({_interval(part.interval)})"
        text = f"  {part.about}: {effect}"
        if part.needed:
            against = "" if part.bound is None else f" against {points(part.bound, signed=True)}"
            text += f"{against}; {part.holds} of {part.of}"
            text += f" on the right side, {part.needed} needed"
        lines.append(text)
    if part.published is not None:
        lines.append(f"  the paper's BERT-base: {points(part.published, signed=True)}")
    if part.missing:
        more = len(part.missing) - MOST_MISSING
        rest = f"; and {more} more" if more > 0 else ""
        lines.append(f"  missing: {'; '.join(part.missing[:MOST_MISSING])}{rest}")
    return lines


def show_unfinished(
    table: Sequence[Row], console: Console, *, command: str | None, name_plan: bool = False
) -> None:
    """Show how much of a plan is missing, if anything is, and the command that continues it."""
    missing = sum(row.state == "missing" for row in table)
    unknown = dict.fromkeys(row.target for row in table if row.margin is None)
    gaps = [f"{missing} of {len(table)} runs are missing"] if missing else []
    if unknown:
        gaps.append(f"the margin isn't known yet on {', '.join(unknown)}, as dense is not scored")
    if gaps:
        more = f" `{command}` continues." if command else ""
        plan = f" plan {table[0].plan}:" if name_plan else ""
        say(console, ("unfinished:", "yellow"), f"{plan} {'; '.join(gaps)}.{more}")
