"""Avro 1.12: schema to types, JSON to Avro binary, Avro binary to plain values.

schema (parse) -> resolve (names, depth, defaults) -> typed and generated (the fast path: msgspec types, a generated
encoder) and exact (the exact rules, every error) -> codec, which joins them. What the fast path accepts, the exact
rules accept with the same bytes.
"""
