"""The work of librdkafka: transactions, and publishing where a property asks for it."""
