"""The jobs of a plan: their order, and how each is done."""
