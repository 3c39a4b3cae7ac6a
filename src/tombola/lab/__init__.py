"""Plans and stores: what is run, where, and what is kept."""
