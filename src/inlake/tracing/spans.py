"""Spans of OpenTelemetry: one for a request, one for each call that it makes, sent to a collector in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inlake import __version__
from inlake.errors import InlakeError
from inlake.model import Trace

_context = TraceContextTextMapPropagator()
CLIENT, PRODUCER = SpanKind.CLIENT, SpanKind.PRODUCER
CLOSE_SECONDS = 2.0
"""How long the collector may take for the last spans of a gateway that stops."""
Attributes = Mapping[str, str | int]


class Spans:
    """All spans of a process. No span holds what a record holds, nor a name of an object."""

    def __init__(self, address: str, service: str) -> None:
        """`address`: of a collector that takes OTLP over HTTP; `service`: the name that its spans have.

        The library itself reads the other `OTEL_*` variables: sampler, headers, attributes of the resource, limits.
        """
        about: Attributes = {"service.name": service, "service.version": __version__, "process.pid": os.getpid()}
        self._provider = TracerProvider(resource=Resource.create(about))
        self._exporter = OTLPSpanExporter(endpoint=f"{address.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("inlake", __version__)

    @contextmanager
    def of_request(self, name: str, attributes: Attributes, came_with: Trace | None) -> Iterator[Span]:
        """The span of a request, which goes on with the trace that it came with, or begins one."""
        carrier = {"traceparent": came_with.parent, "tracestate": came_with.state} if came_with else {}
        with self._tracer.start_as_current_span(
            name,
            context=_context.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield span

    @contextmanager
    def of_call(self, name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Span]:
        """The span of a call to another service, below that of the request; an error of ours is its status."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                fail(span, error)
                raise

    async def close(self) -> None:
        """Sends what waits, unless the collector is away. To be called when no request is left."""
        closing = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)
        if not closing.done():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends the pause before another attempt
        await closing


def is_traced() -> bool:
    """Whether this is work for a request that has a span."""
    return get_current_span().get_span_context().is_valid


def trace_of_span(span: Span) -> Trace:
    """The span as the parent of others: its events go on with it."""
    context = span.get_span_context()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return Trace(parent, context.trace_state.to_header())


def fail(span: Span, error: BaseException) -> None:
    """The kind of an error, and no more of it, as the status of a span: its text may say what a record holds."""
    kind = error.code if isinstance(error, InlakeError) else type(error).__name__
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, kind))


def end(span: Span, status: int, attributes: Attributes) -> None:
    """The answer to a request, in its span: a failure of ours is an error there, a fault of the client is none."""
    span.set_attributes({"http.response.status_code": status, **attributes})
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))
