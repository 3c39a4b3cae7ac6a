"""Kinds of task: one file each, found by itself."""
