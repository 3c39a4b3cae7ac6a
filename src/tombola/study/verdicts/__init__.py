"""Which networks match the dense one, and how surely."""
