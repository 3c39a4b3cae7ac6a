"""Intervals, power, multiplicity and trends."""
