"""Callbacks that keep a ticket's pruned weights at zero in others' training loops."""
