"""Makes the plans `leaderboard` and `leaderboard-rates`, and docs/results/leaderboard.md with its
picture.

python tools/build_leaderboard.py

The rates of the plan come from docs/results/leaderboard-rates.csv, the page from
docs/results/leaderboard.csv, as `tombola table` writes them; as long as one is missing, the rates
are those of the recipes, and there is no page.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from page_tables import markdown
from tombola.base.rounding import interval, points
from tombola.report.figures.leaderboard import save
from tombola.study.leaderboard.board import Board, BoardEntry, leaderboard
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PLANS = ROOT / "src" / "tombola" / "catalog" / "plans"
PAGE, ROWS, RATES = (RESULTS / f"leaderboard{end}" for end in (".md", ".csv", "-rates.csv"))

FINDERS: Mapping[str, str] = {
    **dict.fromkeys(("one-shot", "snip", "grasp", "synflow", "wanda"), ""),
    "obs": "examples: 256",  # of about 2000: the paper's 1024, four times, would cost two trainings
    "imp": "",
    "gradual": "every: 1",
    "movement": "",
    "platon": "every: 1",
    "mask-training": "",
}
"""Finder -> its knobs where they are not the default: on trainings of 60 steps, prune at each."""
BUDGETS = (1, 3)
WHOLE_SEARCH = 8
"""The budget that only `imp` gets, whose paper takes nine rounds, and `one-shot` beside it."""
STEPS = {1: "0.95", 3: "0.3", 8: "0.1"}
"""Budget -> what a round of `imp` removes: one round, up to three, and five to nine."""
SPARSITIES = "[0.9]"
RECIPE_RATE = 3e-4
SUFFIX = {1e-4: "-slow", RECIPE_RATE: "", 1e-3: "-fast"}
"""Learning rate -> the end of an arm's name."""
TASKS = {"supersense": 1920, "sentiment": 2000}
"""Task -> training examples, in one epoch."""

Chosen = Mapping[tuple[str, str], float]
"""Finder and task -> learning rate."""


def head(about: str, seeds: str, more: str = "") -> str:
    """What both plans have above their arms."""
    tasks = "".join(f"  {task}: {{train: {{train_limit: {n}}}}}\n" for task, n in TASKS.items())
    return (
        f"version: 1\nabout: {about}\nmodel: mini\nseeds: {seeds}\n{more}"
        f"train: {{epochs: 1, test_limit: 1000, precision: bf16}}\ntasks:\n{tasks}arms:\n"
    )


def arm(name: str, finder: str, *knobs: str) -> str:
    """One arm on a line."""
    return f"  {name}: {{{', '.join(filter(None, (f'kind: {finder}', *knobs)))}}}\n"


def written(rate: float) -> str:
    """A rate as YAML 1.1 reads it, such as 3.0e-4."""
    digits, power = f"{rate:.1e}".split("e")
    return f"{digits}e{int(power)}"


def rates_plan() -> str:
    """The plan that chooses the rate of each finder, on dev, with a seed of its own."""
    about = (
        "Which learning rate does each finder do best with? Scored on dev; test chooses nothing."
    )
    rates = f"learning_rates: [{', '.join(f'{written(rate)}' for rate in SUFFIX)}]"
    return head(about, "[9]", "eval_split: dev\n") + "".join(
        arm(name, name, f"sparsity: {SPARSITIES}", "budget: 1", step(name, 1), knobs, rates)
        for name, knobs in FINDERS.items()
    )


def step(finder: str, budget: int) -> str:
    """The knob by which `imp` takes as many rounds as its budget has trainings."""
    return f"step: {STEPS[budget]}" if finder == "imp" else ""


def board_plan(chosen: Chosen) -> str:
    """The plan of the leaderboard, with the rates that were chosen."""
    about = "Which finder's tickets are best at equal compute? About two hours on two cores."
    return head(about, "[0, 1, 2, 3, 4]") + "".join(
        arm(
            f"{finder}-{budget}{SUFFIX[rate]}",
            finder,
            f"sparsity: {SPARSITIES}",
            f"budget: {budget}",
            step(finder, budget),
            knobs,
            f"tasks: [{', '.join(tasks)}]" if len(tasks) < len(TASKS) else "",
            f"learning_rates: [{written(rate)}]" if rate != RECIPE_RATE else "",
        )
        for finder, knobs in FINDERS.items()
        for budget in budgets(finder)
        for rate, tasks in by_rate(finder, chosen).items()
    )


def budgets(finder: str) -> tuple[int, ...]:
    """What a finder's searches may cost, in trainings."""
    return (*BUDGETS, WHOLE_SEARCH) if finder in ("imp", "one-shot") else BUDGETS


def by_rate(finder: str, chosen: Chosen) -> dict[float, list[str]]:
    """Learning rate -> the tasks on which a finder has it."""
    found: dict[float, list[str]] = {}
    for task in TASKS:
        found.setdefault(chosen.get((finder, task), RECIPE_RATE), []).append(task)
    return found


def chosen_rates(rows: Iterable[Row]) -> Chosen:
    """The rate with the best score on dev; of equal ones, the recipe's, then the lower."""
    best: dict[tuple[str, str], Row] = {}
    ordered = sorted(rows, key=lambda row: (row.learning_rate != RECIPE_RATE, row.learning_rate))
    for row in ordered:
        if row.is_ticket and row.score is not None:
            known = best.get((row.kind, row.target))
            if known is None or row.score > (known.score or 0.0):
                best[row.kind, row.target] = row
    return {place: row.learning_rate for place, row in best.items()}


def page(rows: Sequence[Row]) -> str:
    """The page of the leaderboard."""
    found = leaderboard(rows)
    return INTRODUCTION + "".join(section(board) for board in found.boards) + LIMITS


def section(board: Board) -> str:
    """The table of one board."""
    return f"\n## {board.title}\n\n{markdown(COLUMNS, map(line, board.entries))}\n{shown(board)}\n"


def shown(board: Board) -> str:
    """What the ranks of a board show of its best finders."""
    first = [entry for entry in board.entries if entry.ranks[0] == 1]
    *others, last = (f"`{entry.row.kind}`" for entry in first)
    if len(first) == len(board.entries) or any(e.ranks[1] > len(first) for e in first):
        return "No finder is shown to be better than every other."
    if others:
        return (
            f"{', '.join(others)} and {last} are shown to be better than all others, but not than "
            "each other."
        )
    if len(board.entries) == 2:
        return f"{last} is shown to be better than {only_other(board.entries[-1])}."
    return f"{last} is shown to be better than every other."


def only_other(entry: BoardEntry) -> str:
    """The one finder that a winner was compared with, and what little it may have cost."""
    name = "one-shot pruning" if entry.row.kind == "one-shot" else f"`{entry.row.kind}`"
    cost = ""
    if entry.cost:
        count = f"{entry.cost.trainings:.3g}"
        cost = f", which costs {count} training{'' if count == '1' else 's'}"
    return f"{name}, the only other finder at this budget{cost}"


COLUMNS = (
    "finder",
    "rate",
    "score",
    "minus dense",
    "verdict",
    "minus one-shot",
    "trainings",
    "rank",
)


def line(entry: BoardEntry) -> list[str]:
    """A finder's line of a table."""
    verdict, other, cost = entry.judged.verdict, entry.minus_one_shot, entry.cost
    score = "" if entry.mean is None else points(entry.mean, digits=1)
    if entry.score:
        score += f" ({points(entry.score[1], digits=1)} to {points(entry.score[2], digits=1)})"
    best, worst = entry.ranks
    return [
        f"`{entry.row.kind}`",
        f"{entry.row.learning_rate:g}",
        score,
        estimate(verdict.difference, verdict.interval) if verdict else "",
        verdict.status if verdict else entry.judged.why,
        estimate(other.mean, other.interval) if other else "",
        f"{cost.trainings:.3g}" if cost else "",
        str(best) if best == worst else f"{best} to {worst}",
    ]


def estimate(mean: float | None, ends: tuple[float, float] | None) -> str:
    """A difference with its interval."""
    if mean is None:
        return ""
    text = points(mean, signed=True, digits=1)
    return f"{text} ({interval(ends, digits=1)})" if ends else text


INTRODUCTION = """# The leaderboard

Finders at equal compute: the plan `leaderboard`, sized before its scores were seen
([sizes](../../evidence/leaderboard.md)). Scores are points on test, with 90 % intervals over five
seeds; `rate` is the peak learning rate, `trainings` the cost of search and ticket, in trainings of
dense. How the ranks are made:
[statistics](../explanation/statistics.md#the-leaderboard).

`tools/build_leaderboard.py` makes this page from [leaderboard.csv](leaderboard.csv).

![Score against cost for each finder, a panel for each task](leaderboard.png)
"""
LIMITS = """
## What this does not show

- The network has 10 million weights, a training about 60 steps, and there are five seeds and two
  tasks. On large networks with long trainings, the order of finders may be another.
- Movement pruning, mask training and PLATON were published with thousands of steps. Here their
  searches have 60 or 180, so they are not shown at their best.
- Each table is a ranking of its own: what it shows is wrong by chance with a probability of at most
  5 %, and among several tables, some of it is.
- The learning rates were chosen on dev, for a budget of one training, with one seed. Dense has the
  recipe's, 3e-4.
"""


def main() -> None:
    """Write the plans, and the page if there are rows."""
    (PLANS / "leaderboard-rates.yaml").write_text(rates_plan(), encoding="utf-8")
    rates = chosen_rates(read_rows(RATES)) if RATES.is_file() else {}
    (PLANS / "leaderboard.yaml").write_text(board_plan(rates), encoding="utf-8")
    if ROWS.is_file():
        rows = read_rows(ROWS)
        PAGE.write_text(page(rows), encoding="utf-8")
        for drawn in save(leaderboard(rows).to_json()["boards"], RESULTS):
            if drawn.suffix == ".svg":  # the page shows the other
                drawn.unlink()


if __name__ == "__main__":
    main()
