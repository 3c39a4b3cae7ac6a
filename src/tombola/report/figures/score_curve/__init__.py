"""One figure of a search: score against sparsity, next to dense and the controls."""

from tombola.report.figures.score_curve.chart import draw, save

__all__ = ["draw", "save"]
