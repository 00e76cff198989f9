"""A collector of traces: takes OTLP over HTTP, and writes each span as a line of JSON into a file."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


@dataclass(frozen=True)
class Collector:
    """A collector that runs, and its file."""

    url: str
    file: Path

    def spans(self) -> list[dict[str, Any]]:
        """The spans that came, the first that ended first."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return sorted(map(json.loads, lines), key=lambda span: span["end"])

    def wait_for(self, *names: str) -> list[dict[str, Any]]:
        """All spans, once those of these names are there."""
        end = time.monotonic() + 60
        while not {*names} <= {span["name"] for span in self.spans()}:
            assert time.monotonic() < end, self.spans()
            time.sleep(0.1)
        return self.spans()

    @contextlib.contextmanager
    def another_service(self, name: str) -> Iterator[Any]:
        """A tracer of another service, whose spans come here, too."""
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{self.url}/v1/traces")))
        yield provider.get_tracer(name)
        provider.shutdown()


@contextlib.contextmanager
def collecting(folder: Path) -> Iterator[Collector]:
    """A collector on a free port; its file is in the folder."""
    file, lock = folder / "spans.json", threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            with lock, file.open("a") as out:
                out.writelines(json.dumps(span) + "\n" for span in _spans(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Collector(f"http://127.0.0.1:{server.server_address[1]}", file)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(body: bytes) -> Iterator[dict[str, Any]]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _values(of_resource.resource.attributes)["service.name"]
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "service": service,
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "end": span.end_time_unix_nano,
                    "error": span.status.code == 2,
                    "attributes": _values(span.attributes),
                }


def _values(attributes: Any) -> dict[str, str | int]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
