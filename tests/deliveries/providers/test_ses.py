"""Amazon SES: requests against AWS's own model and moto, receipts out of SNS in both forms."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from functools import cache
from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from clarion.clock import DAY, SystemClock
from clarion.deliveries import aws
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import BadSignature, Callback, HttpRequest, HttpResponse, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.ses import Ses, receipt_of
from clarion.model.delivery import failed
from clarion.model.errors import Misconfigured, Unavailable
from clarion.model.ids import DELIVERY, show
from clarion.model.words import OutcomeKind, ReceiptEvent
from clarion.testing.providers import StubHttp, no_io, outcomes_of, services
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.test_mail_contracts import MAIL, config

ACCOUNT = {"region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "hush"}
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses"
OURS = show(DELIVERY, MAIL.delivery_id)


def ses(http: StubHttp | None = None, **fields: Any) -> Ses:
    made = build(config("ses", **ACCOUNT, **fields), services(http))
    assert isinstance(made, Ses)
    return made


# --- requests ---


def test_the_request_is_one_that_aws_knows_and_holds_the_whole_mail() -> None:
    request = ses(configuration_set="clarion").request_for(MAIL, NOW)
    body = json.loads(request.body)
    # Held against the description that AWS publishes with botocore
    model = ServiceModel(Loader().load_service_model("sesv2", "service-2")).operation_model("SendEmail")
    assert request.url == f"https://email.eu-west-1.amazonaws.com{model.http['requestUri']}"
    raw = base64.b64decode(body["Content"]["Raw"]["Data"], validate=True)
    typed = {**body, "Content": {"Raw": {"Data": raw}}}
    assert not ParamValidator().validate(typed, model.input_shape).has_errors()
    assert set(body) <= set(model.input_shape.members)
    # And our delivery's id rides along, twice
    assert body["EmailTags"] == [{"Name": "clarion_delivery", "Value": OURS}, {"Name": "orders", "Value": "1"}]
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["Message-ID"] == f"<{OURS}@example.com>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_temporary_credentials_sign_with_their_token() -> None:
    signed = ses(session_token="t0ken").request_for(MAIL, NOW).headers
    assert signed["x-amz-security-token"] == "t0ken"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in signed["authorization"]


@pytest.mark.parametrize("region", ["eu-west-1.evil.test/", "", "Frankfurt"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(Misconfigured, match="region isn't one"):
        build(config("ses", **{**ACCOUNT, "region": region}), services())


@pytest.mark.parametrize("code", ["MessageRejected", "MailFromDomainNotVerifiedException"])
def test_a_sender_that_the_message_brought_is_no_fault_of_the_account(code: str) -> None:
    said = b'{"message": "Email address is not verified."}'
    answer = HttpResponse(status=400, body=said, headers={"x-amzn-errortype": code})
    own = message(parts={**MAIL.parts, "from": "hi@other.example"})
    assert ses().outcome_of(answer, MAIL).kind is OutcomeKind.MISCONFIGURED
    assert ses().outcome_of(answer, own).kind is OutcomeKind.REFUSED


async def test_an_address_outside_ascii_is_refused_before_any_io() -> None:
    for address, kind in (("ü@example.com", OutcomeKind.REFUSED), ("ada@a b.c", OutcomeKind.BAD_ADDRESS)):
        odd = message(address=address)
        assert (await outcomes_of(ses(StubHttp(no_io)), [odd]))[odd.delivery_id].kind is kind


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The base URL of moto's server, which knows one verified sender."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(SystemClock())
    yield client
    await client.aclose()


async def test_moto_takes_the_mail_and_refuses_an_unknown_sender(moto: str, http: HttpClient) -> None:
    # Given an account with one verified sender
    body, url = b'{"EmailIdentity": "no-reply@example.com"}', f"{moto}/v2/email/identities"
    signer = aws.Signer(access_key_id="AKID", secret_access_key="hush", region="eu-west-1", service="ses")
    headers = signer.headers(url, body, "application/json", SystemClock().now())
    made = await http.call(HttpRequest(url=url, body=body, headers=headers))
    assert isinstance(made, HttpResponse)
    assert made.status == 200
    # When a mail goes out from it, and one from another
    provider = build(msgspec.structs.replace(config("ses", **ACCOUNT), base_url=moto), Services(http=http))
    other = message(1, parts={**MAIL.parts, "from": "hi@other.example"})
    outcomes = await outcomes_of(provider, [MAIL, other])
    # Then moto has the first, byte for byte
    assert outcomes[MAIL.delivery_id].accepted
    from moto.backends import get_backend

    (sent,) = get_backend("ses")["123456789012"]["eu-west-1"].sent_messages
    assert outcomes[MAIL.delivery_id].reference == sent.id
    assert f"<{OURS}@example.com>" in sent.raw_data
    refused = outcomes[other.delivery_id]
    assert (refused.kind, refused.code) == (OutcomeKind.REFUSED, "MessageRejected")
    assert "hi@other.example" not in str(refused)


# --- receipts: what SES says, from the examples of its documentation ---


def mail(**fields: Any) -> dict[str, Any]:
    plain = {
        "timestamp": "2017-08-05T00:40:02.012Z",
        "source": "Sender Name <sender@example.com>",
        "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
        "destination": ["recipient@example.com"],
        "tags": {"ses:configuration-set": ["ConfigSet"], "clarion_delivery": [OURS]},
    }
    return {**plain, **fields}


def bounce(kind: str, subtype: str) -> dict[str, Any]:
    recipient = {"emailAddress": "recipient@example.com", "action": "failed", "status": "5.1.1"}
    return {
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [recipient],
        "timestamp": "2017-08-05T00:41:02.669Z",
    }


@pytest.mark.parametrize(
    "event,kind,code",
    [
        ({"eventType": "Bounce", "bounce": bounce("Permanent", "General")}, "bounced", "Permanent/General"),
        (
            {"eventType": "Bounce", "bounce": bounce("Permanent", "OnAccountSuppressionList")},
            "bounced",
            "Permanent/OnAccountSuppressionList",
        ),
        (
            {"eventType": "Bounce", "bounce": bounce("Permanent", "UnsubscribedRecipient")},
            "unsubscribed",
            "Permanent/UnsubscribedRecipient",
        ),
        ({"eventType": "Bounce", "bounce": bounce("Transient", "MailboxFull")}, "failed", "Transient/MailboxFull"),
        ({"notificationType": "Bounce", "bounce": bounce("Undetermined", "Undetermined")}, "failed", None),
        ({"eventType": "Complaint", "complaint": {"complaintFeedbackType": "abuse"}}, "complained", "abuse"),
        ({"notificationType": "Complaint", "complaint": {}}, "complained", None),
        ({"eventType": "Complaint", "complaint": {"complaintFeedbackType": "not-spam"}}, "unrecognised", "not-spam"),
        ({"eventType": "Delivery", "delivery": {"smtpResponse": "250 ok"}}, "delivered", None),
        ({"notificationType": "Delivery", "delivery": {}}, "delivered", None),
        ({"eventType": "Send", "send": {}}, "sent", None),
        ({"eventType": "Reject", "reject": {"reason": "Bad content"}}, "failed", "Bad content"),
        ({"eventType": "Open", "open": {"ipAddress": "192.0.2.1"}}, "opened", None),
        ({"eventType": "Click", "click": {"link": "https://example.com"}}, "clicked", None),
        ({"eventType": "Rendering Failure", "failure": {"templateName": "T"}}, "failed", None),
        ({"eventType": "DeliveryDelay", "deliveryDelay": {"delayType": "MailboxFull"}}, "sent", "delayed/MailboxFull"),
        (
            {"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": True}}},
            "unsubscribed",
            None,
        ),
        ({"eventType": "Subscription", "subscription": {"newTopicPreferences": {}}}, "unrecognised", None),
        ({"eventType": "Levitation"}, "unrecognised", None),
    ],
)
def test_every_event_has_its_meaning(event: dict[str, Any], kind: str, code: str | None) -> None:
    receipt = receipt_of({**event, "mail": mail()})
    assert receipt.event is ReceiptEvent(kind)
    assert receipt.delivery_id == MAIL.delivery_id
    assert receipt.reference == mail()["messageId"]
    assert receipt.address is None
    if code is not None:
        assert receipt.code == code
    assert (receipt.raw is not None) == (kind == "unrecognised")


@pytest.mark.parametrize(
    "found",
    [
        {"headers": [{"name": "Message-ID", "value": f"<{OURS}@example.com>"}]},
        {"commonHeaders": {"messageId": f"<{OURS}@example.com>"}},
        {"headers": "odd", "tags": {"clarion_delivery": [OURS]}},
    ],
)
def test_an_identitys_feedback_is_matched_by_our_own_message_id(found: dict[str, Any]) -> None:
    event = {"notificationType": "Delivery", "delivery": {}, "mail": {**mail(tags={}), **found}}
    assert receipt_of(event).delivery_id == MAIL.delivery_id


def test_an_event_of_another_form_is_kept_as_unrecognised() -> None:
    oddities: list[dict[str, Any]] = [
        {"mail": []},
        {"mail": None, "eventType": 5},
        {"mail": {"tags": [], "headers": [1]}, "bounce": "x"},
    ]
    for odd in oddities:
        assert receipt_of(odd).event is ReceiptEvent.UNRECOGNISED


# --- receipts: the envelope of SNS ---

CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0a" * 16 + ".pem"
SUBSCRIBE_URL = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"


@cache
def keys(days: int = 7_300) -> tuple[rsa.RSAPrivateKey, bytes]:
    """A key, and a certificate that stands for that of SNS; NOW is in the middle of its days."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    since = datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(days=days / 2)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=days))
    return key, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def posted(version: str = "2", sign: rsa.RSAPrivateKey | None = None, **fields: str | None) -> Callback:
    """What SNS posts."""
    plain: dict[str, str | None] = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": json.dumps({"eventType": "Delivery", "delivery": {}, "mail": mail()}),
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{plain[name]}\n" for name in names if plain.get(name) is not None)
    key, digest = sign or keys()[0], hashes.SHA1() if version == "1" else hashes.SHA256()
    plain.setdefault("Signature", base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), digest)).decode())
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": plain["Type"] or ""}
    body = json.dumps({name: value for name, value in plain.items() if value is not None}).encode()
    return Callback(headers=headers, body=body, url="https://clarion.test/v1/callbacks/ses-mail", now=NOW)


def confirmation(url: str = SUBSCRIBE_URL, kind: str = "SubscriptionConfirmation") -> Callback:
    return posted(Type=kind, Token="2336412f37", SubscribeURL=url)


class Sns(StubHttp):
    """SNS, as far as its certificate and its confirmation go."""

    def __init__(self, certificate: bytes | None = None, status: int = 200) -> None:
        body = keys()[1] if certificate is None else certificate
        super().__init__(lambda _request: HttpResponse(status=status, body=body))

    @property
    def urls(self) -> list[str]:
        return [request.url for request in self.requests]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "Amazon SES"])
async def test_a_signed_notification_is_read_and_its_certificate_fetched_once(
    version: str, subject: str | None
) -> None:
    sns = Sns()
    provider = ses(sns, topic_arn=TOPIC)
    for _ in range(2):
        (receipt,) = await provider.read_callback(posted(version, Subject=subject))
        assert (receipt.event, receipt.delivery_id) == (ReceiptEvent.DELIVERED, MAIL.delivery_id)
    assert sns.urls == [CERTIFICATE_URL]
    assert {request.method for request in sns.requests} == {"GET"}


async def test_a_subscription_is_confirmed_at_sns() -> None:
    sns = Sns()
    assert await ses(sns, topic_arn=TOPIC).read_callback(confirmation()) == []
    assert sns.urls == [CERTIFICATE_URL, SUBSCRIBE_URL]


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.evil.test/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://evil.test/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://sns.eu-west-1.amazonaws.com@evil.test/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://sns.eu-west-1.amazonaws.com/evil/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=x&f=SimpleNotificationService-" + "0a" * 16 + ".pem",
        CERTIFICATE_URL + "\n",
        CERTIFICATE_URL + "?x",
    ],
)
async def test_a_certificate_from_elsewhere_is_never_fetched(url: str) -> None:
    with pytest.raises(BadSignature):
        await ses(StubHttp(no_io)).read_callback(posted(SigningCertURL=url))


@pytest.mark.parametrize(
    "url",
    [
        SUBSCRIBE_URL.replace("amazonaws.com", "evil.test"),
        SUBSCRIBE_URL.replace("https", "http"),
        SUBSCRIBE_URL.replace("ConfirmSubscription", "DeleteTopic"),
        SUBSCRIBE_URL.replace("/?", "/x?"),
        "https://169.254.169.254/?Action=ConfirmSubscription&x=y",
    ],
)
async def test_a_subscription_is_confirmed_nowhere_else(url: str) -> None:
    sns = Sns()
    with pytest.raises(BadSignature, match="SubscribeURL"):
        await ses(sns).read_callback(confirmation(url))
    assert sns.urls == [CERTIFICATE_URL]


def changed(callback: Callback, **fields: str) -> Callback:
    return msgspec.structs.replace(callback, body=json.dumps({**json.loads(callback.body), **fields}).encode())


@pytest.mark.parametrize(
    "callback",
    [
        changed(posted(), Message="{}"),
        changed(posted(), Timestamp="2027-05-02T00:54:06.655Z"),
        changed(posted(), Subject="new"),
        changed(posted(), SignatureVersion="1"),
        changed(posted(), SignatureVersion="3"),
        changed(posted(), Signature="bm9uZQ=="),
        changed(posted(), Signature="!"),
        changed(posted(), TopicArn="arn:aws:sns:eu-west-1:666666666666:theirs"),
        changed(posted(), Type="SubscriptionConfirmation"),
        posted(sign=keys(2)[0]),
        posted(TopicArn="arn:aws:sns:eu-west-1:666666666666:theirs"),
        msgspec.structs.replace(posted(), body=b"[" * 9_000),
        msgspec.structs.replace(posted(), body=b'{"Type": 5}'),
    ],
    ids=range(13),
)
async def test_what_sns_did_not_sign_for_this_topic_is_refused(callback: Callback) -> None:
    sns = Sns()
    with pytest.raises(BadSignature):
        await ses(sns, topic_arn=TOPIC).read_callback(callback)
    assert SUBSCRIBE_URL not in sns.urls


async def test_a_certificate_that_has_expired_vouches_for_nothing() -> None:
    key, certificate = keys(2)
    late = msgspec.structs.replace(posted(sign=key), now=NOW + 5 * DAY)
    with pytest.raises(BadSignature, match="isn't valid now"):
        await ses(Sns(certificate)).read_callback(late)


@pytest.mark.parametrize("sns", [Sns(status=503), Sns(b"no certificate"), StubHttp(failed(OutcomeKind.TRANSIENT))])
async def test_while_sns_cannot_be_reached_it_is_asked_to_come_again(sns: StubHttp) -> None:
    with pytest.raises(Unavailable):
        await ses(sns).read_callback(posted())


async def test_without_a_pinned_topic_only_the_id_of_a_delivery_counts() -> None:
    nameless = json.dumps({"eventType": "Complaint", "complaint": {}, "mail": mail(tags={})})
    (pinned,) = await ses(Sns(), topic_arn=TOPIC).read_callback(posted(Message=nameless))
    assert (pinned.delivery_id, pinned.reference) == (None, mail()["messageId"])
    assert await ses(Sns()).read_callback(posted(Message=nameless)) == []
    (named,) = await ses(Sns()).read_callback(posted())
    assert (named.delivery_id, named.reference) == (MAIL.delivery_id, None)


async def test_words_to_the_topic_itself_are_no_receipts() -> None:
    said = "Successfully validated SNS topic for Amazon SES event publishing."
    for text in (said, json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": said}), "[1]"):
        assert await ses(Sns()).read_callback(posted(Message=text)) == []
    assert await ses(Sns()).read_callback(confirmation(kind="UnsubscribeConfirmation")) == []
