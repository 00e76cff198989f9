"""The codec of the unsecured routes: it checks nothing, and passes bytes on as they came."""

from __future__ import annotations

from typing import Any, NamedTuple

from inlake.formats.shape import Shape


class Bytes(NamedTuple):
    """A draft without a resource: the object's URI goes into the headers only."""

    record: bytes
    resource: None = None


class UncheckedCodec:
    """See `inlake.ports.Codec`. Every record fits."""

    content_type = "application/json"
    has_resource_field = True

    def encode_plain(self, record: bytes) -> bytes:
        """The bytes as they came."""
        return record

    def read(self, record: bytes, *, tagged: bool = False) -> Bytes:  # noqa: ARG002
        """The bytes as they came."""
        return Bytes(record)

    def encode(self, draft: Bytes, resource: str | None = None) -> bytes:  # noqa: ARG002
        """The bytes as they came."""
        return draft.record

    def decode(self, payload: bytes) -> Any:
        """The text as it came."""
        return payload.decode(errors="replace")

    def shape(self) -> Any:
        """Anything goes."""
        return Shape(type="any")

    def example(self) -> Any:
        """Anything goes."""
        return {}
