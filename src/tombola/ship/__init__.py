"""Tickets outside of this package: in other training loops, in other formats, on the hub."""
