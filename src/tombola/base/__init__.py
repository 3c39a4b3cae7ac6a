"""Errors, specs, fields, keys, text and files; the standard library and PyYAML only."""
