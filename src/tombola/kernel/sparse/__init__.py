"""Linear layers that multiply by kept weights only."""
