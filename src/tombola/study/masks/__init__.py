"""What masks look like and how far they agree."""
