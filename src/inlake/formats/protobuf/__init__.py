"""Protobuf: .proto text to types, ProtoJSON to the wire format, and back.

compile (protoc in process) -> types (what the rules need of a descriptor) -> typed and generated (the fast path:
msgspec types, a generated encoder) and exact (the exact rules, every error) -> codec, which joins them. What the fast
path accepts, the exact rules accept with the same bytes.
"""
