"""What is not a matrix product in a training on a CPU, in an optional C extension."""
