"""Sockets and processes."""
