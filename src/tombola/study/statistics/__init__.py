"""Intervals, power, multiple testing and rank correlation."""
