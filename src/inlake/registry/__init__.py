"""Where schemas come from: a Confluent-compatible registry over HTTP, or a folder of files."""
