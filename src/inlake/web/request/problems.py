"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from inlake.errors import BodyRejected, InlakeError, RecordRejected

CONTENT_TYPE = b"application/problem+json"
PAGE = "/docs/errors"
"""Describes the codes."""
HEADERS = ("allow", "content_range", "tus_version", "upload_offset")
"""Members of an error that are headers of its answer, too."""
Text = Annotated[str, Meta(description="One sentence for a person: what is wrong here, and what to do.")]
Code = Annotated[str, Meta(description="Stable: what a program decides by.")]
LineNumber = Annotated[int, Meta(ge=1, description="From 1.")]


class FieldError(Struct, omit_defaults=True):
    """One reason why a record does not fit its schema, as the document shows it; `formats/reasons` makes them."""

    pointer: Annotated[str, Meta(description="JSON Pointer (RFC 6901) into the record as sent.")]
    code: Annotated[str, Meta(examples=["missing_field", "wrong_type", "out_of_range"])]
    detail: Text
    expected: Annotated[str, Meta(description="What the schema wants there.")] = ""
    got: Annotated[str, Meta(description="What stands there.")] = ""


class LineReject(Struct, omit_defaults=True):
    """A line of the answer to a stream: a line of the request that was refused, or that failed."""

    line: LineNumber
    status: Annotated[int, Meta(ge=400)]
    code: Code
    title: str
    detail: Text
    errors: list[FieldError]
    schema: str = ""


class Problem(Struct, omit_defaults=True):
    """A problem document (RFC 9457). Other members may stand beside these, such as `line` and `column`."""

    type: Annotated[
        str,
        Meta(description="A page of this gateway about the code.", extra_json_schema={"format": "uri-reference"}),
    ]
    title: Annotated[str, Meta(description="The same for every problem with this code.")]
    status: Annotated[int, Meta(ge=400, description="As the answer has it.")]
    detail: Text
    instance: Annotated[str, Meta(description="Id of the request; the log has it too.")]
    code: Code
    schema: Annotated[str, Meta(description="Name of the schema that a record was checked against.")] = ""
    errors: list[FieldError] = []
    lines: list[LineReject] = []
    rejected: Annotated[int, Meta(description="Lines that were refused, of a body that is all or nothing.")] = 0


def problem(error: InlakeError, instance: str, root_path: str) -> dict[str, Any]:
    """A `Problem`, as JSON has it; `instance` is the id of the request; `root_path`: see `Exchange.address`."""
    return {
        "type": f"{root_path}{PAGE}#{error.code}",
        "title": error.title(),
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        **_members(error),
    }


def line_problem(error: InlakeError, line: int) -> bytes:
    """The `LineReject` of a line that was refused, one line of JSON."""
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


def problem_response(
    error: InlakeError, instance: str, root_path: str = ""
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the answer to an error."""
    body = msgspec.json.encode(problem(error, instance, root_path))
    headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    names = [name for name in HEADERS if name in error.members]
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
