"""An idempotent producer: record batches of our own (ADR 12)."""
