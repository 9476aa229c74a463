"""SendGrid: requests against its own OpenAPI description, and signed events."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.clock import HOUR, SECOND, SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import BadSignature, Callback, HttpRequest, HttpResponse
from clarion.deliveries.providers import build
from clarion.deliveries.providers.sendgrid import SendGrid, receipt_of
from clarion.model.delivery import Message, Outcome
from clarion.model.errors import Misconfigured
from clarion.model.ids import DELIVERY, show
from clarion.model.words import OutcomeKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.test_mail_contracts import MAIL, SENDGRID_KEY, config
from tests.prism import description, mocking

SPEC = "sendgrid_mail_send.openapi.json"
OWN = message(
    parts={"subject": "Grüße", "html": "<p>Hi</p>", "from": "Shop, Ltd <hi@shop.example>", "reply_to": "a@shop.example"}
)


def sendgrid(**fields: Any) -> SendGrid:
    made = build(config("sendgrid", api_key="SG.key", **fields), services())
    assert isinstance(made, SendGrid)
    return made


def body_of(mail: Message) -> Any:
    return json.loads(sendgrid().request_for(mail, NOW).body)


@pytest.mark.parametrize("mail", [MAIL, OWN, message()], ids=["whole", "own sender", "plain"])
def test_every_body_is_one_that_its_description_allows(mail: Message) -> None:
    spec = json.loads(description(SPEC).read_text())
    schema = spec["paths"]["/mail/send"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "additionalProperties": False, "components": spec["components"]}
    jsonschema.validate(body_of(mail), whole, format_checker=jsonschema.FormatChecker())


def test_the_body_holds_all_that_the_message_has() -> None:
    body = body_of(MAIL)
    (envelope,) = body["personalizations"]
    assert envelope["to"] == [{"email": "ada@example.com"}]
    assert envelope["custom_args"] == {"clarion_delivery": show(DELIVERY, MAIL.delivery_id)}
    assert envelope["headers"] == MAIL.headers
    assert [part["type"] for part in body["content"]] == ["text/plain", "text/html"]
    assert body["categories"] == ["orders"]
    assert [base64.b64decode(file["content"]) for file in body["attachments"]] == [f.content for f in MAIL.attachments]
    assert [file.get("content_id") for file in body["attachments"]] == [None, "logo"]
    own = body_of(OWN)
    assert own["from"] == {"email": "hi@shop.example", "name": "Shop, Ltd"}
    assert own["reply_to"] == {"email": "a@shop.example"}


def test_a_sender_that_the_message_brought_is_no_fault_of_the_account() -> None:
    said = b'{"errors":[{"message":"The from address does not match a verified Sender Identity","field":"from"}]}'
    refused = HttpResponse(status=403, body=said)
    assert sendgrid().outcome_of(refused, MAIL).kind is OutcomeKind.MISCONFIGURED
    assert sendgrid().outcome_of(refused, OWN).kind is OutcomeKind.REFUSED


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mocking(SPEC) as base:
        yield base


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(SystemClock())
    yield client
    await client.aclose()


async def called(http: HttpClient, mock: str, request: HttpRequest) -> HttpResponse | Outcome:
    # The description's path has no /v3 of its own.
    assert request.url == "https://api.sendgrid.com/v3/mail/send"
    return await http.call(msgspec.structs.replace(request, url=f"{mock}/mail/send"))


@pytest.mark.slow
async def test_a_mock_of_its_description_takes_every_mail_and_refuses_a_broken_one(mock: str, http: HttpClient) -> None:
    for mail in (MAIL, OWN):
        answer = await called(http, mock, sendgrid().request_for(mail, NOW))
        assert isinstance(answer, HttpResponse)
        assert sendgrid().outcome_of(answer, mail).accepted, answer.body
    # The mock does look: without a recipient it says no
    request = sendgrid().request_for(MAIL, NOW)
    broken = msgspec.structs.replace(request, body=request.body.replace(b'"to"', b'"two"'))
    answer = await called(http, mock, broken)
    assert isinstance(answer, HttpResponse)
    assert sendgrid().outcome_of(answer, MAIL).kind is OutcomeKind.REFUSED


# --- receipts ---

SIGNED_AT = 1_600_112_502
#: Signed by SendGrid: the vector of its own libraries.
SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
PAYLOAD = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


def posted(body: bytes = PAYLOAD, signature: str = SIGNATURE, stamp: object = SIGNED_AT, after: int = 0) -> Callback:
    headers = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": str(stamp),
    }
    return Callback(headers=headers, body=body, url="https://clarion.test/x", now=SIGNED_AT * SECOND + after)


def test_what_sendgrid_itself_signed_is_read() -> None:
    (receipt,) = sendgrid(webhook_public_key=SENDGRID_KEY).receipts_in(posted())
    assert (receipt.event, receipt.address, receipt.at) == (ReceiptEvent.BOUNCED, "hello@world.com", 1_600_112_492_000)
    assert receipt.reference == "LRzXl_NHStOGhQ4kofSm_A"  # as X-Message-Id said it


@pytest.mark.parametrize(
    "callback",
    [
        posted(PAYLOAD.replace(b"hello", b"hallo")),
        posted(stamp=SIGNED_AT + 1),
        posted(signature=SIGNATURE.replace("MEUCIGHQ", "MEUCIGHR")),
        posted(signature="!"),
        posted(signature="bm9uZQ=="),
        posted(after=26 * HOUR),
        posted(after=-HOUR),
        posted(stamp=""),
        posted(stamp="soon"),
    ],
    ids=range(9),
)
def test_anything_else_is_refused(callback: Callback) -> None:
    with pytest.raises(BadSignature):
        sendgrid(webhook_public_key=SENDGRID_KEY).receipts_in(callback)
    with pytest.raises(BadSignature, match="webhook_public_key"):
        sendgrid().receipts_in(callback)


def test_a_batch_of_events_is_a_batch_of_receipts() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    provider = sendgrid(webhook_public_key=base64.b64encode(public).decode())
    for body, count in (
        (b'[{"event":"open"},{"event":"levitated"},{}]', 3),
        (b"{}", 0),
        (b"[[]]", 0),
        (b"[" * 9_000, 0),
    ):
        signed = key.sign(str(SIGNED_AT).encode() + body, ec.ECDSA(hashes.SHA256()))
        assert len(provider.receipts_in(posted(body, base64.b64encode(signed).decode()))) == count


@pytest.mark.parametrize("key", ["nonsense", "bm9uZQ==", base64.b64encode(bytes(91)).decode()])
def test_a_key_that_is_none_says_where_to_get_one(key: str) -> None:
    with pytest.raises(Misconfigured, match="webhook_public_key isn't one"):
        sendgrid(webhook_public_key=key)


@pytest.mark.parametrize(
    "event,kind,code",
    [
        ({"event": "processed"}, "sent", None),
        ({"event": "deferred", "response": "400 try again later"}, "sent", None),
        ({"event": "delivered", "response": "250 OK"}, "delivered", None),
        (
            {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "500 unknown recipient"},
            "bounced",
            "5.1.1",
        ),
        ({"event": "bounce", "type": "blocked", "status": "5.7.1"}, "failed", "5.7.1"),
        ({"event": "bounce", "type": "bounce", "bounce_classification": "Invalid Address"}, "bounced", None),
        ({"event": "bounce", "type": "bounce", "bounce_classification": "Reputation"}, "failed", None),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, "unsubscribed", "Unsubscribed Address"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "complained", "Spam Reporting Address"),
        ({"event": "dropped", "reason": "Invalid"}, "failed", "Invalid"),
        ({"event": "spamreport"}, "complained", None),
        ({"event": "unsubscribe"}, "unsubscribed", None),
        ({"event": "group_unsubscribe", "asm_group_id": 10}, "unsubscribed", None),
        ({"event": "group_resubscribe", "asm_group_id": 10}, "resubscribed", None),
        ({"event": "open", "sg_machine_open": True}, "opened", None),
        ({"event": "click", "url": "https://example.com"}, "clicked", None),
        ({"event": "account_status_change", "type": "compliance_suspend"}, "unrecognised", None),
    ],
)
def test_every_event_has_its_meaning(event: dict[str, Any], kind: str, code: str | None) -> None:
    receipt = receipt_of({**event, "clarion_delivery": show(DELIVERY, MAIL.delivery_id), "timestamp": 1_513_299_569})
    assert (receipt.event, receipt.code, receipt.delivery_id) == (ReceiptEvent(kind), code, MAIL.delivery_id)
    assert (receipt.raw is not None) == (kind == "unrecognised")


def test_a_full_package_is_the_accounts_fault() -> None:
    assert receipt_of({"event": "dropped", "reason": "Recipient List over Package Quota"}).provider_fault
