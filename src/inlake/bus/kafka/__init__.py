"""Kafka: the bus, its topics, its errors."""
