"""Rows of a task: read, checked, tokenised and batched."""
