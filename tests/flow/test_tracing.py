"""One trace from the caller's request over the decision to each attempt; nothing without a tracer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clarion import tracing
from clarion.model.delivery import Outcome, accepted, failed
from clarion.model.words import OutcomeKind
from clarion.web.app import create_app
from tests.composed import Installation, working
from tests.web import asgi

KEY = "the admin key of these tests, long enough"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider.get_tracer("tests"))
    yield exporter
    tracing.use(None)


async def report(clarion: Installation, traceparent: str) -> None:
    body = {"type": "note", "recipients": ["ada"]}
    app = create_app(clarion.clarion)
    answer = await asgi.call(app, "POST", "/v1/events", body, key=KEY, headers={"traceparent": traceparent})
    assert answer.status == 202


async def test_one_trace_from_the_callers_request_to_each_attempt(
    tmp_path: Path, migrated_url: str, spans: InMemorySpanExporter
) -> None:
    environment = {"CLARION_DATABASE_URL": migrated_url, "CLARION_ADMIN_KEY": KEY}
    async with working(tmp_path, environment) as clarion:
        # Given a provider that accepts the second attempt
        answers: list[Outcome] = [accepted(), failed(OutcomeKind.TRANSIENT, "503")]
        clarion.providers["first"].answer = lambda _message: answers.pop()
        await clarion.people("ada")
        await clarion.workflow("note", {"channel": "email", "subject": "a", "text": "b"})

        # When a traced request reports an event
        await report(clarion, CALLER)
        await clarion.sent(count=2)
        await clarion.until(lambda: attempts(spans, 2))

    # Then the request's span lies in the caller's trace, and the attempts below it, with what they came to
    (accept,) = (s for s in spans.get_finished_spans() if s.name == "accept event")
    assert f"{accept.context.trace_id:032x}" == TRACE
    assert accept.parent is not None
    assert f"{accept.parent.span_id:016x}" == SPAN
    tried = [s for s in spans.get_finished_spans() if s.name == "attempt"]
    assert [(s.context.trace_id, s.parent and s.parent.span_id) for s in tried] == 2 * [
        (accept.context.trace_id, accept.context.span_id)
    ]
    assert [(s.attributes or {})["clarion.outcome"] for s in tried] == ["transient", "accepted"]

    # And the decision links to it
    (decide,) = (s for s in spans.get_finished_spans() if s.name == "decide")
    assert [link.context.span_id for link in decide.links] == [accept.context.span_id]


async def attempts(spans: InMemorySpanExporter, count: int) -> bool:
    return len([s for s in spans.get_finished_spans() if s.name == "attempt"]) == count


@pytest.mark.parametrize(
    "header,stored",
    [(CALLER, CALLER), ("00-" + "0" * 32 + f"-{SPAN}-01", None), ("nonsense", None), (f"ff-{TRACE}-{SPAN}-01", None)],
)
async def test_without_a_tracer_the_callers_context_is_kept_and_nonsense_refuses_no_event(
    tmp_path: Path, migrated_sqlite_url: str, header: str, stored: str | None
) -> None:
    environment = {"CLARION_DATABASE_URL": migrated_sqlite_url, "CLARION_ADMIN_KEY": KEY}
    async with working(tmp_path, environment) as clarion:
        await clarion.workflow("note", {"channel": "email", "subject": "a", "text": "b"})
        await report(clarion, header)
        assert [row["traceparent"] for row in await clarion.rows("SELECT traceparent FROM events")] == [stored]
