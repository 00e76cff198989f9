"""Many binaries with their records, announced, sent and published together: one log for all of them."""
