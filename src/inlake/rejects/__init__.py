"""Refused records that are kept, so that nobody's work is lost: `keeper` takes them, an adapter has them."""
