"""The providers of chat, held to the public contract: their samples are real answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from clarion.deliveries.interface import HttpResponse, Provider, ProviderConfig
from clarion.model.delivery import Message, accepted, failed
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import HttpProviderContract, ProviderContract, Sample, SendProviderContract
from tests.deliveries.messages import message
from tests.deliveries.tcp import free_port

OURS = "https://hooks.example/services/T0/B0/0urs"


def chat(kind: ContactKind, address: str, **parts: str) -> Message:
    """A chat message."""
    plain = {"title": "Grace replied", "body": "Well put.", "action_url": "https://example.com/c/1", **parts}
    return message(channel=Channel.CHAT, kind=kind, address=address, parts=plain)


def config(kind: str, **keys: Any) -> ProviderConfig:
    return ProviderConfig(name="chat", kind=kind, channel=Channel.CHAT, config=keys)


class TestSlack(HttpProviderContract):
    sample = Sample(
        config=config("slack", url=OURS),
        message=chat(ContactKind.SLACK, "https://hooks.slack.com/services/T1/B1/the1rs"),
        oversized=chat(ContactKind.SLACK, "https://hooks.slack.com/services/T1/B1/the1rs", body="x" * 12_001),
        secrets=("0urs",),
        answers=(
            (HttpResponse(status=200, body=b"ok"), accepted(code="200")),
            (
                HttpResponse(status=404, body=b"no_service"),
                failed(OutcomeKind.BAD_ADDRESS, "no_service", "Slack answered 404"),
            ),
            (
                HttpResponse(status=410, body=b"channel_is_archived"),
                failed(OutcomeKind.BAD_ADDRESS, "channel_is_archived", "Slack answered 410"),
            ),
            (
                HttpResponse(status=403, body=b"action_prohibited"),
                failed(OutcomeKind.REFUSED, "action_prohibited", "Slack answered 403"),
            ),
            (
                HttpResponse(status=400, body=b"invalid_payload"),
                failed(OutcomeKind.REFUSED, "invalid_payload", "Slack answered 400"),
            ),
            (HttpResponse(status=404, body=b"<html>"), failed(OutcomeKind.REFUSED, "404", "Slack answered 404")),
            (
                HttpResponse(status=429, headers={"retry-after": "1"}, body=b"rate_limited"),
                failed(OutcomeKind.THROTTLED, "rate_limited", "Slack answered 429", 1_000),
            ),
            (
                HttpResponse(status=500, body=b"rollup_error"),
                failed(OutcomeKind.TRANSIENT, "rollup_error", "Slack answered 500"),
            ),
        ),
    )


class TestDiscord(HttpProviderContract):
    sample = Sample(
        config=config("discord", url="https://discord.com/api/webhooks/1/0urs"),
        message=chat(ContactKind.DISCORD, "https://discord.com/api/webhooks/2/the1rs"),
        oversized=chat(ContactKind.DISCORD, "https://discord.com/api/webhooks/2/the1rs", body="*" * 1_500),
        secrets=("0urs",),
        answers=(
            (
                HttpResponse(status=200, body=b'{"id": "1234567890", "channel_id": "2", "content": "Well put."}'),
                accepted("1234567890", "200"),
            ),
            (HttpResponse(status=204), accepted(code="204")),
            (
                HttpResponse(status=404, body=b'{"message": "Unknown Webhook", "code": 10015}'),
                failed(OutcomeKind.BAD_ADDRESS, "10015", "Discord answered 404"),
            ),
            (
                HttpResponse(status=401, body=b'{"message": "Invalid Webhook Token", "code": 50027}'),
                failed(OutcomeKind.BAD_ADDRESS, "50027", "Discord answered 401"),
            ),
            (
                HttpResponse(status=400, body=b'{"message": "Invalid Form Body", "code": 50035, "errors": {}}'),
                failed(OutcomeKind.REFUSED, "50035", "Discord answered 400"),
            ),
            (
                HttpResponse(
                    status=429,
                    headers={"retry-after": "1"},
                    body=b'{"message": "You are being rate limited.", "retry_after": 0.457, "global": false}',
                ),
                failed(OutcomeKind.THROTTLED, "429", "Discord answered 429", 457),
            ),
        ),
    )


class TestTeams(HttpProviderContract):
    sample = Sample(
        config=config("teams", url="https://default.environment.api.powerplatform.com/workflows/1/triggers?sig=0urs"),
        message=chat(ContactKind.TEAMS, "https://prod-1.westeurope.logic.azure.com/workflows/2/triggers?sig=the1rs"),
        oversized=chat(ContactKind.TEAMS, "https://prod-1.westeurope.logic.azure.com/x", body="x" * 20_001),
        secrets=("0urs",),
        answers=(
            (HttpResponse(status=202), accepted(code="202")),
            (
                HttpResponse(status=404, body=b'{"error": {"code": "WorkflowNotFound", "message": "..."}}'),
                failed(OutcomeKind.BAD_ADDRESS, "WorkflowNotFound", "Teams answered 404"),
            ),
            (
                HttpResponse(status=400, body=b'{"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "..."}}'),
                failed(OutcomeKind.REFUSED, "WorkflowTriggerIsNotEnabled", "Teams answered 400"),
            ),
            (HttpResponse(status=401), failed(OutcomeKind.REFUSED, "401", "Teams answered 401")),
            (
                HttpResponse(status=429, headers={"retry-after": "5"}),
                failed(OutcomeKind.THROTTLED, "429", "Teams answered 429", 5_000),
            ),
        ),
    )


class TestTelegram(HttpProviderContract):
    sample = Sample(
        config=config("telegram", bot_token="123456:ABC-DEF_ghi"),
        message=chat(ContactKind.TELEGRAM, "-1001234"),
        oversized=chat(ContactKind.TELEGRAM, "-1001234", body="👍" * 2_100),
        secrets=("123456:ABC-DEF_ghi",),
        answers=(
            (
                HttpResponse(status=200, body=b'{"ok": true, "result": {"message_id": 365, "date": 1803816000}}'),
                accepted("365", "200"),
            ),
            (
                HttpResponse(
                    status=403,
                    body=b'{"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}',
                ),
                failed(OutcomeKind.BAD_ADDRESS, "403", "Telegram answered 403"),
            ),
            (
                HttpResponse(
                    status=400, body=b'{"ok": false, "error_code": 400, "description": "Bad Request: chat not found"}'
                ),
                failed(OutcomeKind.BAD_ADDRESS, "400", "Telegram answered 400"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b'{"ok": false, "error_code": 400, "description": "Bad Request: message is too long"}',
                ),
                failed(OutcomeKind.REFUSED, "400", "Telegram answered 400"),
            ),
            (
                HttpResponse(
                    status=429,
                    body=b'{"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 14", '
                    b'"parameters": {"retry_after": 14}}',
                ),
                failed(OutcomeKind.THROTTLED, "429", "Telegram answered 429", 14_000),
            ),
            (
                HttpResponse(status=401, body=b'{"ok": false, "error_code": 401, "description": "Unauthorized"}'),
                failed(OutcomeKind.MISCONFIGURED, "401", "Telegram answered 401"),
            ),
        ),
    )


class Taker(BaseHTTPRequestHandler):
    """Takes every JSON that is posted."""

    taken: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def taker() -> Iterator[int]:
    """The port of a server that takes all."""
    Taker.taken.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class TestApprise(SendProviderContract):
    sample = Sample(
        config=config("apprise", url="json://ops:hush@chat.example/rooms/{address}"),
        message=chat(ContactKind.TELEGRAM, "@ada"),
        oversized=chat(ContactKind.TELEGRAM, "@ada", body="x" * 70_000),
        secrets=("hush",),
    )

    @pytest.fixture
    def working(self, taker: int) -> Provider:
        return self.build(config={"url": f"json://127.0.0.1:{taker}/rooms/{{address}}"})

    @pytest.fixture
    def broken(self) -> Provider:
        return self.build(config={"url": f"json://127.0.0.1:{free_port()}/rooms/{{address}}"})

    async def test_the_address_stands_in_the_url_and_cannot_leave_its_place(self, working: Provider) -> None:
        from clarion.testing.providers import outcomes_of

        strange = message(1, channel=Channel.CHAT, kind=ContactKind.TELEGRAM, address="../x?a=b", parts={"body": "<b>"})
        outcomes = await outcomes_of(working, [self.sample.message, strange])
        assert all(outcome.accepted for outcome in outcomes.values())
        taken = {path: (said["title"], said["message"]) for path, said in Taker.taken}
        assert taken == {"/rooms/@ada": ("Grace replied", "Well put."), "/rooms/..%2Fx%3Fa=b": ("", "<b>")}

    @pytest.mark.parametrize("url", ["json://{address}/x", "jsons://user:{address}@host/x", "nonsense://x"])
    def test_a_url_that_lets_users_choose_the_host_or_is_none_is_refused(self, url: str) -> None:
        from clarion.model.errors import Misconfigured

        with pytest.raises(Misconfigured, match="url"):
            self.build(config={"url": url})


CONTRACTS: list[type[ProviderContract]] = [TestSlack, TestDiscord, TestTeams, TestTelegram, TestApprise]
