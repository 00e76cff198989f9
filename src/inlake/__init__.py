"""Inlake: a data gateway that checks records, stores binaries and publishes one event that names both."""

__version__ = "0.5.0"
