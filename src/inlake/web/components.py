"""The shapes of what goes in and out, as components of the OpenAPI document."""

from __future__ import annotations

from typing import Any, get_args

from inlake.errors import every_error
from inlake.formats.shape import Word

Document = dict[str, Any]


def ref(name: str) -> Document:
    """A reference to a shape of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(description: str, optional: tuple[str, ...] = (), **properties: Document) -> Document:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _text(description: str = "", **more: Any) -> Document:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _number(description: str = "", minimum: int = 0) -> Document:
    return {"type": "integer", "minimum": minimum, **({"description": description} if description else {})}


def _list(items: Document) -> Document:
    return {"type": "array", "items": items}


def _or_null(name: str) -> Document:
    return {"anyOf": [ref(name), {"type": "null"}]}


_PROBLEM = {
    "title": _text("The same for every problem with this code."),
    "status": _number("As the answer has it.", 400),
    "detail": _text("One sentence for a person: what is wrong here, and what to do."),
    "code": _text("Stable: what a program decides by.", enum=sorted({error.code for error in every_error()})),
    "schema": _text("Name of the schema that a record was checked against."),
    "errors": _list(ref("FieldError")),
}

SCHEMAS: Document = {
    "Problem": _object(
        "What went wrong (RFC 9457). Other members may stand beside these, such as `line` and `column`.",
        ("schema", "errors", "lines", "rejected"),
        type=_text("A page of this gateway about the code.", format="uri-reference"),
        instance=_text("Id of the request; the log has it too."),
        lines=_list(ref("LineReject")),
        rejected=_number("Lines that were refused, of a body that is all or nothing.", 1),
        **_PROBLEM,
    ),
    "FieldError": _object(
        "One reason why a record does not fit its schema.",
        ("expected", "got"),
        pointer=_text("JSON Pointer (RFC 6901) into the record as sent."),
        code=_text(examples=["missing_field", "wrong_type", "out_of_range"]),
        detail=_text("One sentence for a person."),
        expected=_text("What the schema wants there."),
        got=_text("What stands there."),
    ),
    "Receipt": _object(
        "Where the event of a record is.",
        id=_text("`ce_id` of the event.", format="uuid"),
        key=_text("Key of the event: `schema` or `schema/destination`."),
        topic=_text(),
        partition=_number(),
        offset=_number(),
        schema=_or_null("SchemaVersion"),
        resource=_or_null("StoredObject"),
    ),
    "Pending": _object(
        "A record that is kept until its binary is complete.",
        id=_text("`ce_id` of the event to come.", format="uuid"),
        key=_text("Key of the event: `schema` or `schema/destination`."),
        promise=_text("Its puuid.", format="uuid"),
        state=_text(enum=["claimed"]),
        schema=_or_null("SchemaVersion"),
        expires_at=_text("Without progress of the binary until then it is given up.", format="date-time"),
    ),
    "Promise": _object(
        "A binary announced or stored, that a record may name.",
        ("parts_done",),
        puuid=_text(format="uuid"),
        state=_text(enum=["reserved", "uploading", "stored", "claimed", "published", "failed"]),
        way=_text("How the binary comes.", enum=["request", "tus", "direct"]),
        received=_number("Bytes."),
        size={"type": ["integer", "null"], "minimum": 0, "description": "Bytes, as stored, before as announced."},
        sha256={"type": ["string", "null"], "description": "Hexadecimal, as stored, before as announced."},
        content_type=_text(),
        filename=_text("As the client sent it."),
        expires_at={
            "type": ["string", "null"],
            "format": "date-time",
            "description": "Without progress until then it is given up; null once it cannot be.",
        },
        reason={"type": ["string", "null"], "description": "Why it failed: a code of a problem."},
        receipt=_or_null("Receipt"),
        parts_done={**_list(ref("PartDone")), "description": "Of a direct upload: the parts that the store holds."},
    ),
    "PartDone": _object(
        "A part that the store holds.",
        number=_number("From 1.", 1),
        size=_number("Bytes."),
        etag=_text(),
        checksum_sha256={"type": ["string", "null"], "description": "Base64, if it was announced."},
    ),
    "PromiseList": _object(
        "One's own promises that wait for their binary or their record.",
        promises=_list(ref("Promise")),
        next={"type": ["string", "null"], "description": "`after` of the next page; null at the end."},
    ),
    "SchemaVersion": _object(
        "Which schema a record was checked against.", subject=_text(), version=_number(minimum=1), id=_number()
    ),
    "StoredObject": _object(
        "A binary in the store.",
        puuid=_text("Name of its promise.", format="uuid"),
        uri=_text("What the record holds in its resource field."),
        size=_number("Bytes."),
        sha256=_text("Hexadecimal, of the bytes received.", pattern="^[0-9a-f]{64}$"),
        content_type=_text(),
        filename=_text("As the client sent it."),
    ),
    "Valid": _object("The record fits.", valid={"const": True}, schema=_or_null("SchemaVersion")),
    "LineReceipt": {
        "description": "A line of the answer to a stream: the receipt of a line of the request.",
        "allOf": [ref("Receipt"), _object("", line=_number("From 1.", 1), status={"const": 201})],
    },
    "LinePending": {
        "description": "A line of the answer to a stream: a line of the request that waits for its binary.",
        "allOf": [ref("Pending"), _object("", line=_number("From 1.", 1), status={"const": 202})],
    },
    "LineReject": _object(
        "A line of the answer to a stream: a line of the request that was refused, or that failed.",
        ("schema",),
        line=_number("From 1.", 1),
        **_PROBLEM,
    ),
    "Summary": _object(
        "The last line of the answer to a stream; a stream without it was cut.",
        ("receipts_left_out", "code", "detail"),
        summary=_object(
            "Lines by result.", accepted=_number(), pending=_number(), rejected=_number(), failed=_number()
        ),
        complete={"type": "boolean", "description": "False: the body was not read to its end; `code` says why."},
        receipts_left_out=_number("Receipts for which there was no room in the spool.", 1),
        code=_text(),
        detail=_text(),
    ),
    "Envelope": _object(
        "A record that says its schema itself, where the query does not.",
        ("destination", "version", "message"),
        schema=_text(),
        destination=_text(),
        version=_number(minimum=1),
        message=_text(),
        record={"description": "The record."},
    ),
    "Announcement": _object(
        "A binary that its client will send to the object store itself.",
        ("filename", "content_type", "sha256", "parts", "part_size"),
        size=_number("Bytes."),
        filename=_text(maxLength=1000),
        content_type=_text(maxLength=255),
        sha256=_text("Of the whole binary, in hexadecimal or base64."),
        parts={
            "anyOf": [{"type": "boolean"}, _list(_text()), {"type": "null"}],
            "description": "True: parts; false: one PUT; or the SHA-256 of each part. Default: parts beyond 64 MiB.",
        },
        part_size=_number("Bytes of every part but the last.", 5 << 20),
    ),
    "DirectUpload": {
        "description": "A promise and where to send its binary: `put`, or `parts` with more of them at `next`.",
        "allOf": [
            ref("Promise"),
            _object(
                "",
                ("put", "part_size", "part_count", "parts", "next"),
                put=ref("SignedRequest"),
                part_size=_number("Bytes of every part but the last."),
                part_count=_number(minimum=1),
                parts=_list(ref("SignedPart")),
                next={"type": ["string", "null"], "description": "Path of the next page of parts."},
            ),
        ],
    },
    "SignedRequest": _object(
        "A request to the object store, to be sent as it is.",
        method=_text(),
        url=_text(format="uri"),
        headers={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    "SignedPart": {
        "description": "The same for one part.",
        "allOf": [ref("SignedRequest"), _object("", number=_number("From 1.", 1), size=_number("Bytes.", 1))],
    },
    "SchemaEntry": _object("A schema that a record can name.", name=_text(), subject=_text()),
    "SchemaList": _object("All schemas.", schemas=_list(ref("SchemaEntry"))),
    "Schema": _object(
        "A schema of the registry, and a record that fits it.",
        name=_text(),
        subject=_text(),
        version=_number(minimum=1),
        id=_number(),
        versions=_list(_number(minimum=1)),
        type=_text(enum=["AVRO", "PROTOBUF", "JSON"]),
        schema=_text("The text of the schema."),
        references=_list(_object("", name=_text(), subject=_text(), version=_number(minimum=1))),
        example={"description": "A record that fits; null where the schema is only for others to import."},
        fields=_list(ref("SchemaField")),
        resource_field={"type": ["string", "null"], "description": "The field that names the binary, if there is one."},
    ),
    "SchemaField": _object(
        "A field of a record; without a name what an array or a map holds. Types have one word in all languages.",
        ("name", "required", "nullable", "aliases", "symbols", "scale", "items", "values", "fields", "choices"),
        name=_text("As JSON writes it."),
        type=_text(enum=list(get_args(Word))),
        required={"type": "boolean", "default": False, "description": "Absent is an error."},
        nullable={"type": "boolean", "default": False, "description": "Null is a value."},
        aliases={**_list(_text()), "description": "Other names that are taken for it."},
        symbols={**_list(_text()), "description": "Of an enum."},
        scale=_number("Of a decimal: digits behind the point."),
        items=ref("SchemaField"),
        values=ref("SchemaField"),
        fields={**_list(ref("SchemaField")), "description": "Of a record; left out where it is inside of itself."},
        choices={**_list(ref("SchemaField")), "description": "Of a choice: the types, in the order of the schema."},
    ),
    "Live": _object("The process answers.", status={"const": "live"}),
    "Readiness": _object(
        "What the gateway needs, and whether it is there.",
        status=_text(enum=["ready", "not ready"]),
        checks=_object("", bus=ref("Check"), store=ref("Check"), registry=ref("Check")),
    ),
    "Check": _object(
        "One of the three.",
        ("warnings", "code", "detail"),
        ok={"type": "boolean"},
        warnings=_list(_text()),
        code=_text("Why not: a code of a problem, or `no_answer`."),
        detail=_text(),
    ),
}
SECURITY_SCHEMES: Document = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `INLAKE_API_KEYS`; a gateway without keys takes every client as `anonymous`.",
    }
}
