"""Every provider of email over HTTP: mail goes out on a real connection, and what the provider says comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.bootstrap import Clarion
from clarion.clock import SECOND, SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse, Services
from clarion.deliveries.providers import build
from clarion.model.delivery import Outcome
from clarion.settings import load
from clarion.web.app import create_app
from tests.composed import Installation, outcomes
from tests.deliveries.providers.test_mail_contracts import config
from tests.deliveries.providers.test_ses import keys, posted
from tests.deliveries.tcp import listening
from tests.web import asgi

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT_KEY = ec.generate_private_key(ec.SECP256R1())
EVENT_KEY_TEXT = base64.b64encode(
    EVENT_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()

Posted = tuple[bytes, dict[str, str]]


def of_sendgrid(delivery: str, word: str) -> Posted:
    body = json.dumps([{"event": {"delivered": "delivered", "bounced": "bounce"}[word], "clarion_delivery": delivery}])
    stamp = str(SystemClock().now() // SECOND)
    signed = EVENT_KEY.sign(f"{stamp}{body}".encode(), ec.ECDSA(hashes.SHA256()))
    name = "x-twilio-email-event-webhook"
    return body.encode(), {f"{name}-signature": base64.b64encode(signed).decode(), f"{name}-timestamp": stamp}


def of_mailgun(delivery: str, word: str) -> Posted:
    stamp, token = str(SystemClock().now() // SECOND), f"token-{delivery}-{word}"
    signature = hmac.new(b"s1gn", f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    said = {
        "delivered": {"event": "delivered"},
        "bounced": {"event": "failed", "severity": "permanent", "reason": "bounce"},
    }
    event = {**said[word], "user-variables": {"clarion_delivery": delivery}}
    signed = {"timestamp": stamp, "token": token, "signature": signature}
    return json.dumps({"signature": signed, "event-data": event}).encode(), {}


def of_postmark(delivery: str, word: str) -> Posted:
    said = {"delivered": {"RecordType": "Delivery"}, "bounced": {"RecordType": "Bounce", "Type": "HardBounce"}}
    login = base64.b64encode(b"clarion:h00k").decode()
    body = {**said[word], "Metadata": {"clarion_delivery": delivery}}
    return json.dumps(body).encode(), {"authorization": f"Basic {login}"}


def of_resend(delivery: str, word: str) -> Posted:
    body = json.dumps({"type": f"email.{word}", "data": {"tags": {"clarion_delivery": delivery}}}).encode()
    stamp = str(SystemClock().now() // SECOND)
    key = base64.b64decode(WHSEC.removeprefix("whsec_"))
    digest = hmac.new(key, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return body, {"svix-id": "msg_1", "svix-timestamp": stamp, "svix-signature": signature}


def of_ses(delivery: str, word: str) -> Posted:
    said = {
        "delivered": {"eventType": "Delivery", "delivery": {}},
        "bounced": {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "General"}},
    }
    event = {**said[word], "mail": {"tags": {"clarion_delivery": [delivery]}}}
    callback = posted(Message=json.dumps(event))
    return callback.body, {"content-type": "text/plain; charset=UTF-8"}


class Account(NamedTuple):
    """A provider as it is configured, what it answers, and how it reports."""

    config: dict[str, Any]
    answer: bytes
    report: Callable[[str, str], Posted]


AWS = {"region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "hush"}
ACCOUNTS = {
    "mailgun": Account(
        {"api_key": "k", "domain": "mg.example.com", "webhook_signing_key": "s1gn"}, b'{"id": "<1@mg>"}', of_mailgun
    ),
    "postmark": Account({"api_key": "k", "webhook_secret": "h00k"}, b'{"MessageID": "m1"}', of_postmark),
    "resend": Account({"api_key": "k", "webhook_secret": WHSEC}, b'{"id": "r1"}', of_resend),
    "sendgrid": Account({"api_key": "k", "webhook_public_key": EVENT_KEY_TEXT}, b"", of_sendgrid),
    "ses": Account(AWS, b'{"MessageId": "s1"}', of_ses),
}


class Wire:
    """The HTTP client, and AWS's own host for certificates, which no test can be."""

    def __init__(self) -> None:
        self.client = HttpClient(SystemClock())

    async def call(self, request: HttpRequest) -> HttpResponse | Outcome:
        if request.url.startswith("https://sns."):
            return HttpResponse(status=200, body=keys()[1])
        return await self.client.call(request)


@pytest.fixture(params=sorted(ACCOUNTS))
async def mails(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation on SQLite that mails ada through one provider; it answers on a real socket."""
    account = ACCOUNTS[request.param]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(size[1]) if size else 0)
            length = len(account.answer)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + account.answer)

    wire = Wire()
    settings = load(
        None, {"CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "k"), "CLARION_DATABASE_URL": f"sqlite:///{tmp_path}/d"}
    )
    async with listening(serve) as port:
        wanted = msgspec.structs.replace(config(request.param, **account.config), base_url=f"http://127.0.0.1:{port}")
        provider = build(msgspec.structs.replace(wanted, name="mails"), Services(http=wire))
        found = Installation(await Clarion.open(settings, None, {"mails": provider}), {})
        try:
            await found.clarion.work()
            await found.people("ada")
            await found.workflow("note", {"channel": "email", "subject": "{{ event.data.n }}", "text": "for ada"})
            yield found
        finally:
            await found.clarion.close()
            await wire.client.aclose()


async def sent(mails: Installation, n: int) -> dict[str, Any]:
    (found,) = await mails.settled(await mails.event("note", recipients=["ada"], data={"n": n}))
    delivery: dict[str, Any] = found["deliveries"][0]
    return delivery


async def test_a_mail_is_sent_delivered_and_after_a_bounce_no_more(
    mails: Installation, request: pytest.FixtureRequest
) -> None:
    report = ACCOUNTS[request.node.callspec.params["mails"]].report
    app = create_app(mails.clarion)

    async def tell(delivery: dict[str, Any], word: str, **changes: str) -> int:
        body, headers = report(delivery["id"], word)
        answer = await asgi.call(app, "POST", "/v1/callbacks/mails", raw=body, headers={**headers, **changes})
        return answer.status

    # Given a mail that the provider took, when it says that it arrived, then it is delivered
    first = await sent(mails, 1)
    assert first["state"] == "sent"
    assert await tell(first, "delivered") == 200
    assert await mails.rows("SELECT state FROM deliveries") == [{"state": "delivered"}]
    # What isn't signed is refused
    answer = await asgi.call(app, "POST", "/v1/callbacks/mails", raw=b"[{}]")
    assert (answer.status, answer.code) == (401, "invalid_signature")
    # When the next one bounces, then the one after that isn't sent at all
    second = await sent(mails, 2)
    assert await tell(second, "bounced") == 200
    third = await mails.settled(await mails.event("note", recipients=["ada"], data={"n": 3}))
    assert outcomes(third) == {"ada": ("suppressed", "address_suppressed")}
