"""What a search or an evaluation found."""
