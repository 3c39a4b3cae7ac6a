"""What does the jobs: this process, several, ranks of one training, or a Ray cluster."""
