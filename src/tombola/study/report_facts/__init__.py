"""Everything that a report shows, as JSON."""
