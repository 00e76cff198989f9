"""A campaign against Kafka: what publishers are told while brokers fail, beside what an independent reader finds."""
