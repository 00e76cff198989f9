"""Logs of create-once entries in the store: processes agree by them, without a lock."""
