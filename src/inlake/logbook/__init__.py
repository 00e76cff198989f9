"""What processes agree on without a lock: logs of create-once entries in the store."""
