"""Finders that find the mask within one training of the network. One file each."""
