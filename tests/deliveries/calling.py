"""What a call of the HTTP client comes to: an answer, or an outcome without one."""

from __future__ import annotations

from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse
from clarion.model.delivery import Outcome
from clarion.model.words import OutcomeKind


async def outcome(client: HttpClient, request: HttpRequest) -> tuple[OutcomeKind, str | None]:
    answer = await client.call(request)
    assert isinstance(answer, Outcome), answer
    return answer.kind, answer.code


async def answer(client: HttpClient, request: HttpRequest) -> HttpResponse:
    answered = await client.call(request)
    assert isinstance(answered, HttpResponse), answered
    return answered
