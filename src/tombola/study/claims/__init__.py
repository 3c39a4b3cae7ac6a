"""A paper's claims, tested on the results of a plan."""
