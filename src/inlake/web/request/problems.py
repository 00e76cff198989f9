"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import Any

import msgspec

from inlake.errors import BodyRejected, InlakeError, RecordRejected

CONTENT_TYPE = b"application/problem+json"


def problem(error: InlakeError, instance: str) -> dict[str, Any]:
    """The problem document; `instance` is the id of the request. `type` is a page that this gateway serves."""
    return {
        "type": f"/docs/errors#{error.code}",
        "title": error.title(),
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        **_members(error),
    }


def line_problem(error: InlakeError, line: int) -> bytes:
    """The receipt of a line that was refused, one line of JSON."""
    return msgspec.json.encode(_of_line(error, line)) + b"\n"


def _of_line(error: InlakeError, line: int) -> dict[str, Any]:
    document = {
        **_members(error),
        "line": line,  # of the stream: a record is one line of it
        "status": error.status,
        "code": error.code,
        "title": error.title(),
        "detail": error.detail,
    }
    document.setdefault("errors", [{"pointer": "", "code": error.code, "detail": error.detail}])
    return document


def problem_response(error: InlakeError, instance: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the answer to an error."""
    body = msgspec.json.encode(problem(error, instance))
    headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    names = [name for name in ("allow", "content_range", "tus_version") if name in error.members]
    headers += [(name.replace("_", "-").encode(), str(error.members[name]).encode()) for name in names]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers, body


def _members(error: InlakeError) -> dict[str, Any]:
    members = dict(error.members)
    if isinstance(error, RecordRejected):
        members["errors"] = [e._asdict() for e in error.errors]
    if isinstance(error, BodyRejected):
        members["lines"] = [_of_line(reason, number) for number, reason in error.lines]
    return members
