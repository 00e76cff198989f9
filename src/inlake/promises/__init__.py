"""Binaries on their way: what a promise is, its steps, and what is left of it."""
