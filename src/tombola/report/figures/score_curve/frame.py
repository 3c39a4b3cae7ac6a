"""The plot of a score curve: its size in pixels and its scales."""

from dataclasses import dataclass
from math import floor

import altair as alt

from tombola.report.figures.score_curve.series import Content

__all__ = ["GAP", "HEIGHT", "LABEL_AT", "PATH_WIDTH", "Frame"]

# All lengths are in pixels of a picture about 640 wide.
PATH_WIDTH = 310
HEIGHT = 330
LANE = 18
GAP = 16
"""The least distance between two labels."""
EDGE = 12
LABEL_AT = 24
"""Distance of the labels from the plot's right edge."""


@dataclass(frozen=True)
class Frame:
    """The plot's scales: sparsity in percent to the right, points upward."""

    final: float
    low: float
    high: float
    lanes: int
    metric: str

    @classmethod
    def of(cls, content: Content, metric: str) -> "Frame":
        """Scales that hold every score, spread and the margin, and not zero for its own sake."""
        series = [*content.tickets, *content.controls, *([content.dense] if content.dense else [])]
        ends = [end for s in series for end in (*s.scores, s.mean - s.sd, s.mean + s.sd)]
        if content.dense and content.margin is not None:
            ends.append(content.dense.mean - content.margin)
        low, high = min(ends), max(ends)
        pad = max(0.06 * (high - low), 0.5)
        final = max((s.sparsity for s in series), default=0.0)
        return cls(final or 100.0, low - pad, high + pad, len(content.controls), metric)

    @property
    def strip(self) -> float:
        """Width of the strip of controls, which has room for its heading."""
        return max(self.lanes, 3) * LANE + EDGE if self.lanes else 0.0

    @property
    def width(self) -> float:
        """Width of the plot, the strip of controls included."""
        return PATH_WIDTH + self.strip

    def sparsity_at(self, pixel: float) -> float:
        """The sparsity at a distance from the left edge."""
        return self.final * pixel / (PATH_WIDTH - EDGE)

    def lane(self, number: int) -> float:
        """The sparsity at the middle of one of the strip's lanes."""
        return self.sparsity_at(PATH_WIDTH + EDGE / 2 + (number + 0.5) * LANE)

    @property
    def x(self) -> alt.X:
        """The horizontal axis, labelled below the tickets only."""
        step = 10 if self.final >= 25 else 5 if self.final >= 10 else 1
        return alt.X(
            "x:Q",
            title="sparsity (%)",
            scale=alt.Scale(domain=[0, self.sparsity_at(self.width)], nice=False, zero=False),
            axis=alt.Axis(
                values=list(range(0, floor(self.final) + 1, step)),
                grid=False,
                labelFlush=False,
                titleX=(PATH_WIDTH - EDGE) / 2,
                titleAnchor="middle",
            ),
        )

    @property
    def y(self) -> alt.Y:
        """The vertical axis."""
        return alt.Y(
            "y:Q",
            title=f"{self.metric} (points)",
            scale=alt.Scale(domain=[self.low, self.high], nice=False, zero=False),
            axis=alt.Axis(tickCount=6),
        )
