"""What the results in a store say; nothing is run."""
