"""What a finder looks at, computed from a network and its data."""
