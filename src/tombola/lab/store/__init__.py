"""Results on disk, each in a folder named by its key."""
