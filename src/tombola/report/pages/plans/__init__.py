"""The report of plans: their networks, verdicts, claims, and the key of every run."""
