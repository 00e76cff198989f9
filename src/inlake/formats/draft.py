"""A record that was parsed and is not validated yet; see `inlake.ports.Draft`."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from inlake.formats.json_text import ABSENT


class Draft(Struct, frozen=True):
    """One record, for the codec that parsed it; a struct, since one is made for each."""

    resource: Any
    """The resource field as sent; None when it is null or absent."""
    value: Any = ABSENT
    """The record as plain values, unless it is `typed`."""
    typed: Any = ABSENT
    """The record as the fast path read it."""
    text: bytes = b""
    """The record as sent, where it is `typed`."""
    tagged: bool = False
    """Avro: unions must be in the tagged form."""
