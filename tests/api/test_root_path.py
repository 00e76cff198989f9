"""Behind a proxy that takes a prefix off: every address in an answer has it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.gateways import embedded


async def test_every_address_in_an_answer_begins_with_the_prefix(tmp_path: Path) -> None:
    async with embedded(tmp_path, root_path="/gw") as gateway:
        upload = await gateway.post("/uploads", b"", None, headers={"tus-resumable": "1.0.0", "upload-length": "1"})
        puuid = upload.headers["location"].rpartition("/")[2]
        assert upload.headers["location"] == f"/gw/uploads/{puuid}"
        record = json.dumps({"title": "a", "__resource_path__": puuid}).encode()
        pending = await gateway.post("/ingress/record-json?schema=note", record)
        assert (pending.status, pending.headers["location"]) == (202, f"/gw/promises/{puuid}")
        refused = await gateway.post("/ingress/record-json?schema=note", b"{}")
        assert refused.json()["type"] == "/gw/docs/errors#record_rejected"
        docs = (await gateway.post("/docs", method="GET")).body.decode()
        assert '"/gw/openapi.json"' in docs.replace("'", '"')
        assert "/gw/docs/static/swagger-ui-bundle.js" in docs
        assert "/gw/docs/static/swagger-ui.css" in docs
        file = {"filename": "a.obj", "size": 1, "sha256": hashlib.sha256(b"a").hexdigest()}
        announcement = json.dumps({"file": file, "record": {"title": "a"}}).encode() + b"\n"
        announced = await gateway.post("/shipments?schema=note", announcement, "application/x-ndjson")
        shipment = announced.headers["location"].rpartition("/")[2]
        assert announced.headers["location"] == f"/gw/shipments/{shipment}"
        assert announced.lines()[0]["put"]["url"] == f"/gw/shipments/{shipment}/1"
        missing = (await gateway.post(f"/shipments/{shipment}?missing=true", method="GET")).json()
        assert missing["lines"][0]["put"]["url"] == f"/gw/shipments/{shipment}/1"
        document = (await gateway.post("/openapi.json", method="GET")).json()
        assert document["servers"] == [{"url": "/gw"}]
