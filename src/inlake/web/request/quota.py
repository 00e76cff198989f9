"""Quotas on a request: it is counted before its body is read, bytes and records as they come; what is left is told."""

from __future__ import annotations

from collections.abc import Sequence

from inlake.access.quotas import Amount, Exceeded, Left, Limit, Quotas
from inlake.errors import QuotaExceeded
from inlake.web.request.exchange import Exchange

_QUOTA_UNITS = {"records": "records", "bytes": "content-bytes"}
"""As draft-ietf-httpapi-ratelimit-headers-10 calls them; it has none for records."""
REFUSED = "Requests, and lines of streams, that a quota refused."


def admit(x: Exchange, *, is_open: bool) -> None:
    """Count a request, and the bytes of its body as they come, where there are quotas and the route is not `is_open` to
    all. Raises `QuotaExceeded`, also for more bytes than there is room for, if their number is told."""
    if x.site.quotas is not None and not is_open:
        _admit(x, x.site.quotas)


def _admit(x: Exchange, quotas: Quotas) -> None:
    coming = x.content_length or 0
    exceeded = quotas.take(x.principal, Amount(requests=1), coming=coming)
    if exceeded is None and quotas.count_bytes and x.has_body():
        x.when_bytes_come(lambda size: quotas.add(x.principal, Amount(bytes=size)))
    left = quotas.left(x.principal, coming=0 if exceeded else coming)
    if exceeded is not None and exceeded.is_of_all and quotas.principal:
        left.append(Left(exceeded.limit, True, 0, exceeded.seconds))
    x.always([(b"ratelimit-policy", _policies(left)), (b"ratelimit", _lefts(left))])
    if exceeded is not None:
        raise _error(x, exceeded)


def admit_records(x: Exchange, records: int = 1) -> None:
    """Count records of which all are taken or none. Raises `QuotaExceeded`."""
    if x.site.quotas is not None and (exceeded := x.site.quotas.take(x.principal, Amount(records=records))):
        raise _error(x, exceeded)


def admit_some(x: Exchange, records: int) -> tuple[int, QuotaExceeded | None]:
    """Count as many of so many records as the quota has room for; how many, and why not the next one."""
    if x.site.quotas is None:
        return records, None
    fit, exceeded = x.site.quotas.take_some(x.principal, records)
    return fit, None if exceeded is None else _error(x, exceeded)


def _error(x: Exchange, exceeded: Exceeded) -> QuotaExceeded:
    limit, seconds = exceeded.limit, exceeded.seconds
    who = "All clients together" if exceeded.is_of_all else f"The principal {x.principal}"
    setting = "INLAKE_QUOTA_ALL" if exceeded.is_of_all else "INLAKE_QUOTA_PRINCIPAL"
    x.site.metrics.counter(
        "inlake_quota_refused_total",
        REFUSED,
        (("quota", "all" if exceeded.is_of_all else "principal"), ("unit", limit.name)),
    ).value += 1
    return QuotaExceeded(
        f"{who} may send {limit.most:,} {limit.name} a minute ({setting}); try again in {seconds} s.",
        seconds,
        quota=_name(limit, exceeded.is_of_all),
    )


def _name(limit: Limit, is_of_all: bool) -> str:
    return f"all-{limit.name}" if is_of_all else limit.name


def _policies(left: Sequence[Left]) -> bytes:
    """A List of Items (RFC 8941): `"requests";q=600;w=60`."""
    items = []
    for limit, is_of_all, _, _ in left:
        unit = "" if limit.name == "requests" else f';qu="{_QUOTA_UNITS[limit.name]}"'
        items.append(f'"{_name(limit, is_of_all)}";q={limit.most};w=60{unit}')
    return ", ".join(items).encode()


def _lefts(left: Sequence[Left]) -> bytes:
    return ", ".join(f'"{_name(limit, of_all)}";r={n};t={seconds}' for limit, of_all, n, seconds in left).encode()
