"""The way of a collection's files to a gateway and its store: many at once, each once, whatever breaks on the way."""
