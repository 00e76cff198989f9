"""What librdkafka does: transactions, and publishing where a property asks for it."""
