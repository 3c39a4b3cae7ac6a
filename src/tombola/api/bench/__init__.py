"""How fast a network runs under its ticket, next to other ways to run it."""
