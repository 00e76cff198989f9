"""Gateways for tests: an embedded deployment in a folder, spoken to over plain ASGI, broken bodies included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaReference

from inlake.model import Message
from inlake.settings import load
from inlake.web.app import create_app
from inlake.web.openapi import Application
from inlake.wiring import Deployment, connect

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "year", "type": ["null", "int"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Gateway:
    """An application and the deployment under it."""

    def __init__(self, app: Application, deployment: Deployment) -> None:
        self.app = app
        self.deployment = deployment

    async def post(
        self,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        content_type: str | None = "application/json",
        *,
        method: str = "POST",
        headers: Mapping[str, str] = {},
        vanish: bool = False,
        stall: bool = False,
    ) -> Answer:
        """One request over ASGI; `body` may be chunks. After the last of them the client may `vanish`, or `stall`: send
        nothing more and stay."""
        chunks = [body] if isinstance(body, bytes) else list(body)
        given = {**headers, **({"content-type": content_type} if content_type else {})}
        if len(chunks) == 1 and not (vanish or stall):
            given.setdefault("content-length", str(len(chunks[0])))
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        coming = iter(chunks)
        sent: list[Any] = []
        left = len(chunks)

        async def receive() -> dict[str, Any]:
            nonlocal left
            await asyncio.sleep(0)
            if left == 0 and vanish:
                return {"type": "http.disconnect"}
            if left == 0:
                await asyncio.sleep(60)
            left -= 1
            return {"type": "http.request", "body": next(coming), "more_body": left > 0 or vanish or stall}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        found: dict[str, str] = {}
        for name, value in ((k.decode(), v.decode()) for k, v in sent[0]["headers"]):
            found[name] = f"{found[name]}\n{value}" if name in found else value
        return Answer(sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))

    async def register(
        self, name: str, schema: Mapping[str, Any] | str, references: list[SchemaReference] | None = None
    ) -> None:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        await self.deployment.registry.register(name, Schema(text, "AVRO", references or []))

    async def events(self) -> list[Message]:
        return [message async for message in self.deployment.bus.read()]

    async def objects(self) -> list[str]:
        return sorted([key async for key in self.deployment.store.list("objects/")])

    async def open_promises(self) -> list[str]:
        if background := self.deployment.gateway.promises.cleanup._forgetting:  # no client waits for it
            await asyncio.wait(background)
        return [key async for key in self.deployment.store.list(".inlake/open/")]


@asynccontextmanager
async def embedded(folder: Path, **settings: object) -> AsyncIterator[Gateway]:
    """A gateway on a folder with the schema `note` registered, unless there is another `registry`.

    `settings` by their names in lower case, other variables (AWS_...) in upper case.
    """
    environment = {
        "INLAKE_BUS": f"sqlite:{folder / 'events.db'}",
        "INLAKE_STORE": f"file:{folder / 'store'}",
        "INLAKE_REGISTRY": f"dir:{folder / 'schemas'}",
        **{name if name.isupper() else f"INLAKE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    deployment = connect(load(environment), environment)
    gateway = Gateway(create_app(deployment), deployment)
    if "registry" not in settings:
        await gateway.register("note", NOTE)
    try:
        yield gateway
    finally:
        await deployment.close()


def form(*parts: tuple[str, bytes, str | None, str | None], boundary: str = "frontier") -> tuple[bytes, str]:
    """A multipart body of (name, content, filename, content type) and its `Content-Type`."""
    body = b""
    for name, content, filename, kind in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        body += (f"Content-Type: {kind}\r\n" if kind else "").encode() + b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
