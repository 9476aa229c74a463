"""Amazon SES, API v2, SendEmail with a raw message (read 2026-11).

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors, and for the messages
https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html, .../manage-sending-quotas-errors.html

    200                                     accepted; `MessageId` is the reference
    TooManyRequestsException (429)          throttled: too many calls
    ThrottlingException                     throttled: "Maximum sending rate exceeded" a moment, "Daily message quota
                                            exceeded" 10 minutes: SES drops what is over, and keeps nothing for later
    LimitExceededException                  throttled
    AccountSuspendedException               misconfigured: for good
    SendingPausedException                  misconfigured: by a review, or by the configuration set's own switch
    MailFromDomainNotVerifiedException      misconfigured; refused if the message brought its own sender
    MessageRejected "... not verified"      the same
    NotFoundException                       misconfigured: the configuration set
    MessageRejected, BadRequestException    refused: a virus, an attachment's type; an address or tag that isn't valid
    what all services have                  deliveries/aws.py

An address on the account's suppression list is accepted here, and bounces. Receipts come by SNS, in both of SES's
forms: event publishing (`eventType`) and an identity's feedback (`notificationType`). They are matched by our
delivery's id, out of the tag that event publishing gives back or out of the original Message-ID, which nobody can
guess; and if `topic_arn` pins the topic, by `messageId`. An address matches nothing: everybody can have a topic.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any

import msgspec

from clarion.clock import MINUTE
from clarion.deliveries import aws, mime
from clarion.deliveries.answers import object_in
from clarion.deliveries.callbacks import read_delivery
from clarion.deliveries.interface import (
    Callback,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    rebased,
)
from clarion.deliveries.mail import DELIVERY, MailProvider, blamed, instant, part_of, shown, text_in
from clarion.deliveries.options import Secret, read
from clarion.deliveries.sns_messages import SnsMessages
from clarion.model.delivery import Message, Outcome, Receipt, accepted
from clarion.model.mail import ascii_address
from clarion.model.words import OutcomeKind, ReceiptEvent

OUTCOMES: dict[str, OutcomeKind] = {
    "TooManyRequestsException": OutcomeKind.THROTTLED,
    "LimitExceededException": OutcomeKind.THROTTLED,
    "AccountSuspendedException": OutcomeKind.MISCONFIGURED,
    "SendingPausedException": OutcomeKind.MISCONFIGURED,
    "MailFromDomainNotVerifiedException": OutcomeKind.MISCONFIGURED,
    "NotFoundException": OutcomeKind.MISCONFIGURED,
    "MessageRejected": OutcomeKind.REFUSED,
    "BadRequestException": OutcomeKind.REFUSED,
}
#: Codes that speak of the sender's address.
_OF_SENDER = ("MailFromDomainNotVerifiedException", "MessageRejected")

#: SES asks to wait up to 10 minutes once the quota of 24 hours is used up.
QUOTA_WAIT = 10 * MINUTE

#: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html; Bounce is read further.
EVENTS: dict[str, ReceiptEvent] = {
    "Send": ReceiptEvent.SENT,
    "DeliveryDelay": ReceiptEvent.SENT,  # still under way
    "Delivery": ReceiptEvent.DELIVERED,
    "Reject": ReceiptEvent.FAILED,  # a virus, found after the acceptance
    "Rendering Failure": ReceiptEvent.FAILED,
    "Bounce": ReceiptEvent.FAILED,
    "Complaint": ReceiptEvent.COMPLAINED,
    "Open": ReceiptEvent.OPENED,
    "Click": ReceiptEvent.CLICKED,
}
#: Where in an event its details stand.
_DETAILS = {
    "DeliveryDelay": "deliveryDelay",
    "Rendering Failure": "failure",
}

_OUR_MESSAGE_ID = re.compile(r"<?(dlv_[0-9a-v]{26})@")

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`topic_arn` pins the SNS topic that may post receipts."""

    region: str
    access_key_id: str
    secret_access_key: Secret
    sender: str = msgspec.field(name="from")
    configuration_set: str | None = None
    topic_arn: str | None = None
    session_token: Secret | None = None


class Ses(MailProvider):
    """Sends through Amazon SES in one region."""

    limits = Limits(max_body_bytes=41_943_040, max_chars={"subject": 998}, required=(("subject",), ("text", "html")))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        settings = read(config, Settings)
        secrets = [secret for secret in (settings.secret_access_key, settings.session_token) if secret]
        super().__init__(config, services, settings.sender, *secrets)
        if not aws.REGION.fullmatch(settings.region):
            raise config.wrong("region isn't one: write it as eu-west-1")
        self._url = rebased(f"{aws.endpoint('email', settings.region)}/v2/email/outbound-emails", self.base_url)
        self._signer = aws.Signer(
            access_key_id=settings.access_key_id,
            secret_access_key=settings.secret_access_key.reveal(),
            session_token=settings.session_token.reveal() if settings.session_token else None,
            region=settings.region,
            service="ses",
        )
        self._fixed = {"ConfigurationSetName": settings.configuration_set} if settings.configuration_set else {}
        self._sns = SnsMessages(self.http, settings.topic_arn)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        to = ascii_address(message.address)
        raw = b2a_base64(mime.mail(message, self.sender, to), newline=False).decode("ascii")
        body = _encode(
            {
                "Destination": {"ToAddresses": [to]},
                "Content": {"Raw": {"Data": raw}},
                "EmailTags": [
                    {"Name": DELIVERY, "Value": shown(message)},
                    *({"Name": tag, "Value": "1"} for tag in message.tags),
                ],
                **self._fixed,
            }
        )
        return HttpRequest(
            url=self._url, headers=self._signer.headers(self._url, body, "application/json", now), body=body
        )

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        if response.status == 200:
            return accepted(text_in(answer, "MessageId") or None, "200")
        code, said = _code(response, answer), text_in(answer, "message") or text_in(answer, "Message")
        kind = aws.meaning(response, code, OUTCOMES)
        if code == "MessageRejected" and "not verified" in said:
            kind = OutcomeKind.MISCONFIGURED
        if code in _OF_SENDER:
            kind = blamed(kind, message)
        quota = kind is OutcomeKind.THROTTLED and "Daily message quota" in said
        return self.failure(response, message, code, said, kind, QUOTA_WAIT if quota else None)

    async def read_callback(self, callback: Callback) -> list[Receipt]:
        await self._sns.prepare(callback)
        return self.receipts_in(callback)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        text = self._sns.message_in(callback)
        event = object_in(text.encode("utf-8", "replace")) if text is not None else {}
        # Anything else is said to the topic itself: "Successfully validated SNS topic for Amazon SES event publishing."
        if "mail" not in event:
            return []
        receipt = receipt_of(event)
        if self._sns.pinned:
            return [receipt]
        # Anybody's topic: nothing is looked up, or kept for later, but what names a delivery of ours.
        return [msgspec.structs.replace(receipt, reference=None)] if receipt.delivery_id else []


def _code(response: HttpResponse, answer: Mapping[str, Any]) -> str:
    """`TooManyRequestsException`, out of what may also hold a name space before it or a URL after it."""
    said = response.headers.get("x-amzn-errortype") or text_in(answer, "__type") or text_in(answer, "code")
    return said.split(":")[0].rpartition("#")[2][:100]


def receipt_of(event: Mapping[str, Any]) -> Receipt:
    """One event of SES, in either form."""
    word = text_in(event, "eventType") or text_in(event, "notificationType")
    details = part_of(event, _DETAILS.get(word, word.lower()))
    mail = part_of(event, "mail")
    kind, code = _event(word, details)
    return Receipt(
        event=kind,
        delivery_id=_delivery(mail),
        reference=text_in(mail, "messageId") or None,
        at=instant(details.get("timestamp")) or instant(mail.get("timestamp")),
        code=code or None,
        raw=word[:100] if kind is ReceiptEvent.UNRECOGNISED else None,
    )


def _event(word: str, details: Mapping[str, Any]) -> tuple[ReceiptEvent, str]:
    """What an event means, and its code."""
    match word:
        case "Bounce":
            kind, subtype = text_in(details, "bounceType"), text_in(details, "bounceSubType")
            code = f"{kind}/{subtype}"
            if kind == "Permanent" and subtype == "UnsubscribedRecipient":
                return ReceiptEvent.UNSUBSCRIBED, code
            return (ReceiptEvent.BOUNCED if kind == "Permanent" else ReceiptEvent.FAILED), code
        case "Complaint":
            # "not-spam" is somebody who takes a mail out of the spam folder.
            code = text_in(details, "complaintFeedbackType") or text_in(details, "complaintSubType")
            return (ReceiptEvent.UNRECOGNISED if code == "not-spam" else ReceiptEvent.COMPLAINED), code
        case "DeliveryDelay":
            return ReceiptEvent.SENT, f"delayed/{text_in(details, 'delayType')}"
        case "Subscription":
            all_of_them = part_of(details, "newTopicPreferences").get("unsubscribeAll") is True
            return (ReceiptEvent.UNSUBSCRIBED if all_of_them else ReceiptEvent.UNRECOGNISED), ""
        case _:
            return EVENTS.get(word, ReceiptEvent.UNRECOGNISED), text_in(details, "reason")[:100]


def _delivery(mail: Mapping[str, Any]) -> bytes | None:
    """Our delivery's id, out of the tags, or out of the Message-ID that we gave."""
    tags = part_of(mail, "tags").get(DELIVERY)
    if isinstance(tags, list) and tags and (found := read_delivery(tags[0])):
        return found
    headers = mail.get("headers")
    named = [header for header in headers if isinstance(header, dict)] if isinstance(headers, list) else []
    ids = [text_in(header, "value") for header in named if text_in(header, "name").lower() == "message-id"]
    ids.append(text_in(part_of(mail, "commonHeaders"), "messageId"))
    for text in ids:
        if (ours := _OUR_MESSAGE_ID.match(text)) and (found := read_delivery(ours[1])):
            return found
    return None
