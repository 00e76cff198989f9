"""Unit tests of rejects in a topic."""
