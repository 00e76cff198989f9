"""Protobuf: .proto text to types, ProtoJSON to the wire format by a fast path and by the exact walker, and back.

compile (protoc in process) -> types (what the rules need of a descriptor) -> fast (msgspec types), writer (a generated
encoder) and walker (the exact rules, every error) -> codec, which joins them. What the fast path accepts, the walker
accepts with the same bytes.
"""
