"""Reads the store and runs nothing: rows, verdicts, transfer, anatomy, claims."""
