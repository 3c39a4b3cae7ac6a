"""Ways to find a ticket: one file each."""
