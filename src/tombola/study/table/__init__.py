"""The runs of a plan as rows, written and read."""
