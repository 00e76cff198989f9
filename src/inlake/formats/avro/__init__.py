"""Avro 1.12: schema to types, JSON to Avro binary by a fast path and by the exact walker, Avro binary to plain values.

schema (parse) -> resolve (names, depth, defaults) -> fast (msgspec types and a generated encoder) and walker (the exact
rules, every error) -> codec, which joins them. What the fast path accepts, the walker accepts with the same bytes.
"""
