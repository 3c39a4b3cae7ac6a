"""Keep pruned weights at zero while a network trains, in any loop and with any optimizer."""
