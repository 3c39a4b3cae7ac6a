"""One file for each group of verbs: their flags, and what they do."""
