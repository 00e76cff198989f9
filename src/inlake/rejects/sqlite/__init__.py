"""Rejects in one SQLite file."""
