"""Twilio's own OpenAPI description: every request that leaves is one it allows, and its answers are understood."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import jsonschema
import pytest

from clarion.clock import SECOND, SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.twilio import STATUSES, Twilio
from clarion.model.delivery import Message
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import outcomes_of, services
from tests.deliveries.messages import NOW, message
from tests.prism import description, mocking

SPEC = "twilio_messages.openapi.json"
PATH = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
SENDER = {"from": "+14155550100"}
SERVICE = {"messaging_service_sid": "MG" + "0a" * 16}


def text(**fields: Any) -> Message:
    plain = {
        "channel": Channel.SMS,
        "kind": ContactKind.PHONE,
        "address": "+14155550123",
        "parts": {"body": "Hi, Ådá €"},
    }
    return message(**{**plain, **fields})


def config(base_url: str | None = None, **sender: Any) -> ProviderConfig:
    account = {"account_sid": "AC" + "0f" * 16, "auth_token": "t0ken"}
    return ProviderConfig(
        name="texts", kind="twilio", channel=Channel.SMS, base_url=base_url, config={**account, **sender}
    )


def spec() -> Any:
    return json.loads(description(SPEC).read_text())


@pytest.mark.parametrize("sender", [SENDER, SERVICE, {**SENDER, **SERVICE}])
@pytest.mark.parametrize("left", [None, -1, 90 * SECOND, 90_000 * SECOND])
def test_every_field_is_one_that_twilio_knows_in_its_form(sender: dict[str, str], left: int | None) -> None:
    provider = build(config(**sender), services())
    assert isinstance(provider, Twilio)
    request = provider.request_for(text(expires_at=None if left is None else NOW + left), NOW)
    fields = {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}
    call = spec()["paths"][PATH]["post"]
    schema = call["requestBody"]["content"][request.headers["content-type"]]["schema"]
    typed = {name: int(v) if schema["properties"][name].get("type") == "integer" else v for name, v in fields.items()}
    jsonschema.validate(typed, {**schema, "additionalProperties": False}, format_checker=jsonschema.FormatChecker())
    assert 1 <= int(fields.get("ValidityPeriod", 1)) <= 36_000


def test_its_own_examples_of_answers_are_acceptances_with_their_id() -> None:
    provider = build(config(**SENDER), services())
    assert isinstance(provider, Twilio)
    answers = spec()["paths"][PATH]["post"]["responses"]["201"]["content"]["application/json"]["examples"]
    for example in answers.values():
        body = json.dumps(example["value"]).encode()
        outcome = provider.outcome_of(HttpResponse(status=201, body=body), text())
        assert (outcome.accepted, outcome.reference) == (True, example["value"]["sid"])


def test_every_status_that_it_names_has_a_meaning() -> None:
    words = set(spec()["components"]["schemas"]["message_enum_status"]["enum"])
    assert words - set(STATUSES) == {"receiving", "received", "partially_delivered"}  # of messages to us, and of groups


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mocking(SPEC) as url:
        yield url


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(SystemClock())
    yield made
    await made.aclose()


@pytest.mark.timeout(240)  # the first run installs the mock
async def test_a_mock_made_of_it_takes_our_messages_and_refuses_broken_ones(mock: str, client: HttpClient) -> None:
    provider = build(config(mock, **SENDER), services(client))
    fine = text(expires_at=NOW + 90 * SECOND)
    outcome = (await outcomes_of(provider, [fine]))[fine.delivery_id]
    assert outcome.accepted, outcome
    assert (outcome.reference or "").startswith(("SM", "MM"))

    # It does look: a messaging service that is none by its pattern.
    broken = build(config(mock, messaging_service_sid="nonsense"), services(client))
    outcome = (await outcomes_of(broken, [fine]))[fine.delivery_id]
    assert outcome.kind is OutcomeKind.REFUSED
