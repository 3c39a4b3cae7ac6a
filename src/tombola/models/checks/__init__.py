"""Checks of what a model claims, before it takes memory."""
