"""What a finder looks at, computed from a network and its data, and the mask that it makes."""
