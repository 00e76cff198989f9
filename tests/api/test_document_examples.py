"""The document's examples are requests that work: what `/docs` sends where nobody has changed a field."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from confluent_kafka.schema_registry import SchemaReference

from tests.gateways import EXAMPLES, Answer, Gateway, embedded, form

SCHEMAS = EXAMPLES / "schemas" / "avro"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with embedded(tmp_path) as gateway:
        rights = [SchemaReference("example.heritage.Rights", "heritage.rights", 1)]
        for name, file, references in (
            ("tate.artwork", "tate_artwork", []),
            ("heritage.rights", "rights", []),
            ("heritage.digital_object", "digital_object", rights),
        ):
            text = (SCHEMAS / f"{file}.avsc").read_text()
            await gateway.register(name, text, references)
        yield gateway


def body_of(kind: str, example: Any) -> tuple[bytes, str]:
    if kind == "multipart/form-data":
        parts = [(n, v.encode(), "file" if n == "file" else None, None) for n, v in example.items()]
        return form(*parts)
    return (example if isinstance(example, str) else json.dumps(example)).encode(), kind


async def execute(gateway: Gateway, method: str, path: str, operation: dict[str, Any], kind: str | None) -> Answer:
    """The request that the page sends as it is: parameters and bodies are those of the examples."""
    given = {place: {} for place in ("path", "query", "header")}  # type: dict[str, dict[str, str]]
    for parameter in operation["parameters"]:
        if "example" in parameter:
            given[parameter["in"]][parameter["name"]] = parameter["example"]
    body, content_type = b"", kind
    if kind is not None:
        media = operation["requestBody"]["content"][kind]
        body, content_type = body_of(kind, media.get("example", ""))
    where = path.format(**given["path"]) + "?" + urlencode(given["query"])
    return await gateway.post(where, body, content_type, method=method.upper(), headers=given["header"])


async def test_every_request_of_the_page_works_twice(gateway: Gateway) -> None:
    document = (await gateway.post("/openapi.json", method="GET")).json()
    sent = []
    for path, operations in document["paths"].items():
        if "{" in path.replace("{name}", ""):  # of what a client has made before
            continue
        for method, operation in operations.items():
            for kind in operation.get("requestBody", {}).get("content", {None: None}):
                for _ in range(2):
                    answer = await execute(gateway, method, path, operation, kind)
                    if (method, path) == ("post", "/promises"):  # a folder takes nothing past the gateway
                        assert (answer.status, answer.json()["code"]) == (501, "direct_upload_not_available")
                    else:
                        assert answer.status in {200, 201, 204}, (method, path, kind, answer.status, answer.body)
                sent.append((method, path, kind))
    assert len(sent) >= 18
    assert len(await gateway.events()) == 2 * (1 + 2 + 1 + 1)
