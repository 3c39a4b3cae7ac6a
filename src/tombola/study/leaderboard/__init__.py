"""Which finder's tickets are best, at what cost, and how sure that is."""
