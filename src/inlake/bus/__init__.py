"""Where events go: Kafka, or a SQLite file when the gateway runs on its own."""
