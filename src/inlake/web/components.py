"""The shapes of what goes in and out, as components of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from inlake.errors import every_error

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
        ("schema", "errors"),
        type=_text("A page of this gateway about the code.", format="uri-reference"),
        instance=_text("Id of the request; the log has it too."),
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
        example={"description": "A record that fits."},
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
