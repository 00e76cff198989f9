"""A registry, a store or a bus each of whose calls leaves a span below that of its request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from inlake.errors import InlakeError
from inlake.tracing.spans import CLIENT, PRODUCER, Attributes, Spans, fail, is_traced

Adapter = TypeVar("Adapter")
PARTS = frozenset({"pieces", "direct"})
"""Attributes of a store that are adapters, too."""
PUBLISH = frozenset({"publish", "publish_all_or_none"})


def traced(adapter: Adapter, name: str, spans: Spans) -> Adapter:
    """The adapter of a port, called `name` in its spans. What it answers at once, or piece by piece, leaves none."""
    return cast("Adapter", _Traced(adapter, name, spans))


class _Traced:
    """Stands before an adapter and has all that it has."""

    def __init__(self, adapter: object, name: str, spans: Spans) -> None:
        self._adapter, self._name, self._spans = adapter, name, spans

    def __getattr__(self, name: str) -> Any:
        """Called once for each method, which stands in the object itself from then on."""
        found = getattr(self._adapter, name)
        if name in PARTS and found is not None:
            found = _Traced(found, f"{self._name} {name}", self._spans)
        elif iscoroutinefunction(found):
            found = self._method(found, name)
        else:
            return found
        self.__dict__[name] = found
        return found

    def _method(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        span_name, kind = f"{self._name} {name}", PRODUCER if name in PUBLISH else CLIENT

        async def with_span(*args: Any, **options: Any) -> Any:
            if not is_traced():  # a sweep, a probe
                return await call(*args, **options)
            about = _of_events(args[0]) if name in PUBLISH else {}
            with self._spans.of_call(span_name, kind, about) as span:
                result = await call(*args, **options)
                if name in PUBLISH and (error := next((at for at in result if isinstance(at, InlakeError)), None)):
                    fail(span, error)
                return result

        return with_span


def _of_events(events: Sequence[Any]) -> Attributes:
    """The attributes of a call that publishes, by the names that OpenTelemetry has for them."""
    topics = {event.topic for event in events}
    about: dict[str, str | int] = {"messaging.batch.message_count": len(events)}
    if len(topics) == 1:
        about["messaging.destination.name"] = topics.pop()
    return about
