"""Pictures of binaries that a browser cannot show itself, or that are too large for a page."""
