"""Traces of requests, as OpenTelemetry has them: spans, and the calls that leave some."""
