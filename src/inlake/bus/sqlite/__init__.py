"""The embedded bus: one SQLite file."""
