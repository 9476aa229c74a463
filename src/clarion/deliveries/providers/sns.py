"""Amazon SNS, texts to phone numbers: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html (read 2026-11)

    200                                      accepted; `MessageId` is the reference
    InvalidParameter..., about PhoneNumber   bad_address: not a number that SNS knows
    InvalidParameter...                      refused
    OptedOut...                              opted_out: texted STOP to this account
    UserError, VerificationException         refused: an account in the sandbox sends to verified numbers only
    KMS..., EndpointDisabled                 refused: for topics and devices, so never for us
    all others                               as for all of Amazon's services: `deliveries/aws.py`

SNS has no key against sending twice and no receipts for texts but in CloudWatch's logs. A monthly spending limit is no
error: SNS takes the text and doesn't send it; watch SMSMonthToDateSpentUSD.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from clarion.deliveries.answers import refusal
from clarion.deliveries.aws import REGION, Signer, endpoint, meaning
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind

OUTCOMES: Final[Mapping[str, OutcomeKind]] = {
    "InvalidParameter": OutcomeKind.REFUSED,
    "InvalidParameterValue": OutcomeKind.REFUSED,
    "ParameterValueInvalid": OutcomeKind.REFUSED,
    "OptedOut": OutcomeKind.OPTED_OUT,
    "OptedOutException": OutcomeKind.OPTED_OUT,
    "UserError": OutcomeKind.REFUSED,
    "VerificationException": OutcomeKind.REFUSED,
    "EndpointDisabled": OutcomeKind.REFUSED,
    "NotFound": OutcomeKind.REFUSED,
}

_ID = re.compile(rb"<MessageId>([\w-]{1,100})</MessageId>")
_CODE = re.compile(rb"<Code>(\w{1,60})</Code>")
_ABOUT_NUMBER = re.compile(rb"<Message>Invalid parameter: ?(?:PhoneNumber|Phone Number)\b", re.IGNORECASE)

_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_ATTRIBUTE: Final = "MessageAttributes.entry.{}.{}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`from`: a sender id of up to 11 letters and digits, or a number of the account's; countries that want none."""

    region: str
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    sender: str | None = msgspec.field(name="from", default=None)


class Sns(HttpProvider):
    """Sends through Amazon SNS."""

    channels = frozenset({Channel.SMS})
    kinds = frozenset({ContactKind.PHONE})
    limits = Limits(max_body_bytes=65_536, max_chars={"body": 1_600}, required=(("body",),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        if not REGION.fullmatch(settings.region):
            raise config.wrong("region isn't one: write it as eu-west-1")
        self._signer = Signer(
            access_key_id=settings.access_key_id,
            secret_access_key=settings.secret_access_key.reveal(),
            session_token=settings.session_token.reveal() if settings.session_token else None,
            region=settings.region,
            service="sns",
        )
        self._url = rebased(endpoint("sns", settings.region) + "/", self.base_url)
        # Transactional: what isn't wanted is decided here, not by the cheapest route.
        attributes = {"AWS.SNS.SMS.SMSType": "Transactional"}
        if settings.sender:
            is_number = settings.sender.removeprefix("+").isdigit()
            attributes["AWS.MM.SMS.OriginationNumber" if is_number else "AWS.SNS.SMS.SenderID"] = settings.sender
        self._form = {"Action": "Publish", "Version": "2010-03-31"}
        for number, (name, value) in enumerate(attributes.items(), 1):
            self._form[_ATTRIBUTE.format(number, "Name")] = name
            self._form[_ATTRIBUTE.format(number, "Value.DataType")] = "String"
            self._form[_ATTRIBUTE.format(number, "Value.StringValue")] = value

    def request_for(self, message: Message, now: int) -> HttpRequest:
        form = {**self._form, "PhoneNumber": message.address, "Message": message.parts.get("body", "")}
        body = urlencode(form, errors="replace").encode()
        return HttpRequest(url=self._url, headers=self._signer.headers(self._url, body, _FORM, now), body=body)

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        if 200 <= response.status < 300:
            found = _ID.search(response.body)
            return accepted(found[1].decode() if found else None, str(response.status))
        named = _CODE.search(response.body)
        code = named[1].decode() if named else str(response.status)
        kind = meaning(response, code, OUTCOMES)
        if kind is OutcomeKind.REFUSED and _ABOUT_NUMBER.search(response.body):
            kind = OutcomeKind.BAD_ADDRESS
        return refusal(response, kind, code, f"SNS answered {response.status}")
