"""The progress of a run, shown to people."""
