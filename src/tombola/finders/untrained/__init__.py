"""Finders that train nothing: they score a network as it stands. One file each."""
