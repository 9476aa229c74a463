"""OpenTelemetry traces from an event to the provider's answer; without `[tracing] otlp_endpoint` none, at no cost.

The trace context of the request that reported an event (W3C `traceparent`) is stored with it. Batches serve many events
at once, so a batch of decisions is a span of its own that links to their traces; each attempt is a span in the trace of
its own event, made when it is over. Spans hold ids, words and figures, never addresses or texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from clarion.clock import SECOND

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext, Tracer

_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NS: Final = 1_000_000_000 // SECOND
#: Links of one span: a batch has up to a thousand events, and backends take about this many.
MOST_LINKS: Final = 128

_tracer: Tracer | None = None


def set_up(endpoint: str, version: str) -> None:
    """Has spans sent to an OTLP endpoint over HTTP, in the background. Raises ImportError without the extra `otel`."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "clarion", "service.version": version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    use(provider.get_tracer("clarion"))


def use(tracer: Tracer | None) -> None:
    """Has spans made by this tracer; None: no more."""
    global _tracer  # noqa: PLW0603  # a process has one, as it has one log
    _tracer = tracer


def valid(traceparent: str | None) -> str | None:
    """A header's value if it is a trace context of version 00; others are no reason to refuse an event."""
    match = _FORM.fullmatch(traceparent or "")
    return traceparent if match and int(match[1], 16) and int(match[2], 16) else None


@contextmanager
def accepting(traceparent: str | None) -> Iterator[str | None]:
    """The span of a request that reports events, below the caller's; gives the context to store with them."""
    parent = valid(traceparent)
    if _tracer is None:
        yield parent
        return
    from opentelemetry import trace

    with _tracer.start_as_current_span("accept event", _below(parent), kind=trace.SpanKind.SERVER) as span:
        yield _shown(span.get_span_context())


@contextmanager
def batch(name: str, traceparents: Iterable[str | None], **attributes: Any) -> Iterator[None]:
    """The span of work on many events, linked to their traces."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Link

    known = list(dict.fromkeys(t for t in traceparents if t is not None))[:MOST_LINKS]
    links = [Link(context) for t in known if (context := _context(t)) is not None]
    with _tracer.start_as_current_span(name, links=links, attributes=attributes):
        yield


def attempt(traceparent: str | None, started: int, ended: int, accepted: bool, about: dict[str, str | int]) -> None:
    """An attempt at a provider that is over (times in ms), in the trace of its event."""
    if _tracer is None or traceparent is None:
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    span = _tracer.start_span(
        "attempt", _below(traceparent), kind=SpanKind.CLIENT, attributes=about, start_time=started * _NS
    )
    if not accepted:
        span.set_status(Status(StatusCode.ERROR, str(about.get("clarion.outcome"))))
    span.end(ended * _NS)


def _context(traceparent: str) -> SpanContext | None:
    from opentelemetry.trace import SpanContext, TraceFlags

    match = _FORM.fullmatch(traceparent)
    if match is None:
        return None
    return SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16)))


def _below(traceparent: str | None) -> Any:
    from opentelemetry import trace

    context = _context(traceparent) if traceparent else None
    return None if context is None else trace.set_span_in_context(trace.NonRecordingSpan(context))


def _shown(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
