"""Makes the table of false verdicts in docs/explanation/statistics.md, by enumeration.

It takes half an hour.

python tools/build_statistics.py
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from page_tables import filled
from tombola.study.statistics.resolution import net_ends

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "statistics.md"
EXAMPLES = (16, 35, 64, 100, 204, 400, 1000, 2000)
SEEDS = (2, 3, 5, 10)
MARGIN = 1.0
ERROR = 0.05
SPREADS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Standard deviation of the difference over seeds, in margins."""
DISCORDANT = (1.0, 1.5, 3.0, 10.0)
"""Examples on which the two networks differ, as a multiple of the fewest that make the margin."""
UNLIKELY = 1e-6
MOST_STATES = 2e7

Floats: TypeAlias = NDArray[np.float64]
Chances: TypeAlias = dict[int, float]
"""A difference of one seed, in examples -> its chance."""


def models(examples: int) -> Iterator[tuple[str, Chances]]:
    """The ways in which differences come about whose mean is exactly minus the margin."""
    for spread in SPREADS:
        yield f"seeds differ by {spread:g} margins", rounded(examples, spread * MARGIN)
    for multiple in DISCORDANT:
        if multiple * MARGIN / 100 < 1:
            yield f"{multiple:g} times the fewest discordant", discordant(examples, multiple)


def rounded(examples: int, spread: float) -> Chances:
    """Normal over seeds; both scores are rounded to a step, wherever they lie between two."""
    points = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, -MARGIN, spread or 1e-12)
    steps = points * examples / 100
    whole = np.floor(steps)
    found: Chances = {}
    for count, share in zip(whole, steps - whole, strict=True):
        for place, chance in ((int(count), 1 - share), (int(count) + 1, share)):
            found[place] = found.get(place, 0.0) + chance / len(steps)
    return found


def discordant(examples: int, multiple: float) -> Chances:
    """Each example is lost or won by itself."""
    lost, won = ((multiple + sign) / 2 * MARGIN / 100 for sign in (1, -1))
    chances = _net(examples, lost, won)
    return {count - examples: float(chance) for count, chance in enumerate(chances)}


def false_verdicts(
    examples: int, seeds: int, chances: Mapping[int, float], *, floor: bool = True
) -> tuple[float, float] | None:
    """Chance of a false "matching" and of a false "not matching", over all outcomes.

    A verdict depends on the sum and the sum of squares of the differences alone.

    Args:
        examples: of the test set.
        seeds: how many.
        chances: of each difference of one seed, whose mean is minus the margin.
        floor: whether the interval is that of the package, or the plain paired t.

    Returns: None where there are too many outcomes to enumerate.
    """
    likely = {count: chance for count, chance in chances.items() if chance > UNLIKELY}
    middle = round(sum(count * chance for count, chance in likely.items()))
    moved = {count - middle: chance for count, chance in likely.items()}
    low, high = seeds * min(moved), seeds * max(moved)
    squares = seeds * max(abs(count) for count in moved) ** 2
    if (high - low + 1) * (squares + 1) > MOST_STATES:
        return None
    state = np.zeros((high - low + 1, squares + 1))
    state[-low, 0] = 1.0
    for _ in range(seeds):
        after = np.zeros_like(state)
        for count, chance in moved.items():
            rows = slice(max(0, -count), len(state) - max(0, count))
            to = slice(max(0, count), len(state) - max(0, -count))
            after[to, count**2 :] += chance * state[rows, : squares + 1 - count**2]
        state = after
    sums, squared = np.nonzero(state > 1e-12)
    below, above = verdict_ends(
        sums + low, squared, middle=middle, seeds=seeds, step=100 / examples, floor=floor
    )
    weights = state[sums, squared]
    return float(weights[below > -MARGIN].sum()), float(weights[above < -MARGIN].sum())


def verdict_ends(
    sums: NDArray[np.int64],
    squared: NDArray[np.int64],
    *,
    middle: int,
    seeds: int,
    step: float,
    floor: bool,
) -> tuple[Floats, Floats]:
    """Both ends for every outcome, in points, a hair away from the margin if they touch it."""
    means = step * (sums / seeds + middle)
    variances = np.maximum(squared - sums**2 / seeds, 0.0) * step**2 / (seeds - 1)
    quantile = stats.t.isf(ERROR, seeds - 1)
    if not floor:
        error = quantile * np.sqrt(variances / seeds)
        return means - error - 1e-9, means + error + 1e-9
    error = quantile * np.sqrt((variances + step**2 / 6) / seeds) + step / 2 / seeds
    pairs = {float(mean): resolved(float(mean), seeds, step) for mean in np.unique(means)}
    low, high = np.array([pairs[float(mean)] for mean in means]).T
    return np.minimum(means - error, low) - 1e-9, np.maximum(means + error, high) + 1e-9


def resolved(mean: float, seeds: int, step: float) -> tuple[float, float]:
    """The ends that the number of examples allows, in points."""
    pairs = seeds * 100 / step
    count = abs(mean) / 100 * pairs
    low, high = net_ends(*((count, 0.0) if mean < 0 else (0.0, count)), pairs, ERROR, ERROR)
    return 100 * low, 100 * high


def false_verdicts_on_one_run(examples: int, multiple: float) -> tuple[float, float, float]:
    """The same for one run, over all numbers of examples lost and won.

    The quantiles of the bootstrap are exact: a resample is a multinomial draw.

    Args:
        examples: of the test set.
        multiple: examples on which the two differ, of the fewest that make the margin.

    Returns: false "matching", false "not matching", and the worse of both of the bootstrap alone.
    """
    rates = [(multiple + sign) / 2 * MARGIN / 100 for sign in (1, -1)]
    most = [int(stats.binom.isf(UNLIKELY, examples, rate)) for rate in rates]
    found = np.zeros(4)
    for lost in range(most[0] + 1):
        for won in range(min(most[1], examples - lost) + 1):
            counts = [lost, won, examples - lost - won]
            chance = stats.multinomial.pmf(counts, examples, [*rates, 1 - sum(rates)])
            if chance < UNLIKELY / 100:
                continue
            low, high = resampled(examples, lost, won)
            ends = net_ends(lost, won, examples, ERROR, ERROR)
            below, above = min(low, 100 * ends[0]) - 1e-9, max(high, 100 * ends[1]) + 1e-9
            verdicts = [below > -MARGIN, above < -MARGIN, low > -MARGIN, high < -MARGIN]
            found += chance * np.array(verdicts)
    return float(found[0]), float(found[1]), float(max(found[2:]))


def resampled(examples: int, lost: int, won: int) -> tuple[float, float]:
    """The percentiles of the bootstrap, in points."""
    chances = _net(examples, lost / examples, won / examples)
    below = np.cumsum(chances)
    places = np.searchsorted(below, [ERROR, 1 - ERROR]) - examples
    low, high = 100 / examples * places
    return float(low), float(high)


def _net(examples: int, lost: float, won: float) -> Floats:
    """Chances of a net count of examples, from all lost to all won."""
    size = 2 * examples + 1
    turn = np.exp(2j * np.pi * np.arange(size) / size)
    chances = np.fft.fft((1 - lost - won + lost / turn + won * turn) ** examples).real / size
    return np.roll(chances, examples)


def table() -> str:
    """The worst of all models, with the floor, and without."""
    lines = []
    for examples in EXAMPLES:
        cells = []
        for seeds in SEEDS:
            worst = [0.0, 0.0, 0.0]
            for _, chances in models(examples):
                with_floor = false_verdicts(examples, seeds, chances)
                plain = false_verdicts(examples, seeds, chances, floor=False)
                if with_floor and plain:
                    both = (*with_floor, max(plain))
                    worst = [max(pair) for pair in zip(worst, both, strict=True)]
            cells.append(in_percent(worst))
        runs = [false_verdicts_on_one_run(examples, each) for each in DISCORDANT]
        cells.insert(0, in_percent(tuple(max(each) for each in zip(*runs, strict=True))))
        lines.append(f"| {examples:,} | {' | '.join(cells)} |\n")
        print(lines[-1], end="", flush=True)
    columns = ("test examples", "one run", *(f"{seeds} seeds" for seeds in SEEDS))
    return f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|\n{''.join(lines)}"


def in_percent(rates: Sequence[float]) -> str:
    """Both false verdicts, and the worse one without the floor."""
    return "{:.1f} / {:.1f} ({:.0f})".format(*(100 * rate for rate in rates))


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8"), {"false verdicts": table}), "utf-8")
