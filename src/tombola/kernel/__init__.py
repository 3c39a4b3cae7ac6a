"""Faster arithmetic for parts of a network."""
