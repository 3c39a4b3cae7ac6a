"""Ways to find a ticket: one file each, here or in a sub-folder."""
