"""A simulated card: see `card`."""
