"""Inlake as a Spark job: the gateway's checks, keys, wire format, headers and rejects for what lies in a data lake."""

__version__ = "0.1.0"
