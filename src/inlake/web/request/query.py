"""The query string as a struct."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from inlake.errors import BadParameter
from inlake.web.request.address import pairs
from inlake.web.request.exchange import Exchange

T = TypeVar("T", bound=msgspec.Struct)


def query(x: Exchange, shape: type[T]) -> T:
    """The parameters that the struct has; others are ignored. Raises `BadParameter`."""
    try:
        return msgspec.convert(dict(pairs(x.scope["query_string"])), shape, strict=False)
    except msgspec.ValidationError as error:
        raise BadParameter(f"The query does not fit: {error}.") from None
