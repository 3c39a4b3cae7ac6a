"""Tasks: definitions, labels, metrics and baselines."""
