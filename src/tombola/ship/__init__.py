"""What leaves the house: checkpoints, tickets for others, pictures, reports."""
