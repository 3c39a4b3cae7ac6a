"""Experiments: what is run, in which order, and where it is kept."""
