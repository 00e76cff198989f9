"""A registry that speaks Confluent's HTTP API."""
