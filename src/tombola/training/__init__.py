"""One training of a masked network, and its evaluation."""
