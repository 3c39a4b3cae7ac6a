"""Masks over a network, and the ticket files that carry them."""
