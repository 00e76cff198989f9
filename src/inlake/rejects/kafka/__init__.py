"""Rejects in a topic of Kafka."""
