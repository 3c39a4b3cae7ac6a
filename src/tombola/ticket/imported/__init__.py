"""Masks that other programs have made."""
