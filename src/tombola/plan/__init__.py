"""Experiments as data: jobs, controls and plans; no torch."""
