"""Plans read from YAML: arms and their fields."""
