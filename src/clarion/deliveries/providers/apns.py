"""Apple Push Notification service over HTTP/2, with token authentication.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns, and for the answers
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns (read 2026-11):

    200                                accepted; apns-id, which is our delivery's id as a UUID, is the reference
    410 Unregistered, ExpiredToken     bad_address as of `timestamp`: who has registered the token again since keeps it
    400 BadDeviceToken                 refused: it "could be that it is a valid token in the wrong environment"
                                       (https://developer.apple.com/forums/thread/807380), so that the next provider of
                                       the chain may be the right one. A token that isn't hexadecimal is one nowhere:
                                       bad_address
    400 DeviceTokenNotForTopic         refused: the token is another app's. Never pruned
    400 BadTopic, MissingTopic, TopicDisallowed; 403 but for the next one
                                       misconfigured: our topic, key, team or environment
    403 ExpiredProviderToken           tried again once with a new token; then misconfigured
    413 PayloadTooLarge                refused, PAYLOAD_INVALID
    429 TooManyRequests                throttled. It is about this one device, so no wait is named that would hold
                                       back others
    429 TooManyProviderTokenUpdates    throttled for a minute
    400 IdleTimeout, 5xx               transient
    other 400, 404, 405                refused

The provider token may be made anew no more than once every 20 minutes and at least once every 60, and the limit is the
team's: so it is made from the time of a half-hour slot, with a signature that comes out the same wherever it is made
(RFC 6979). All workers have the same token without knowing of each other.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.clock import MINUTE, SECOND
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.es256 import key_in, signed
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    invalid,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.deliveries.push import badge_of, checked, data_of, given, named, recall_data, seconds_to_live, tag_of
from clarion.deliveries.wording import fit
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind, Priority

HOSTS = {"production": "https://api.push.apple.com", "sandbox": "https://api.sandbox.push.apple.com"}

#: How long a provider token is used; it is a minute old when it begins to be, for clocks that differ.
SLOT = 30 * MINUTE
YOUNGEST = MINUTE
#: "Update the authentication token no more than once every 20 minutes."
LEAST_BETWEEN = 20 * MINUTE
UPDATES_WAIT = 60 * SECOND

OUTCOMES = {
    "Unregistered": OutcomeKind.BAD_ADDRESS,
    "ExpiredToken": OutcomeKind.BAD_ADDRESS,
    "DeviceTokenNotForTopic": OutcomeKind.REFUSED,
    "BadTopic": OutcomeKind.MISCONFIGURED,
    "MissingTopic": OutcomeKind.MISCONFIGURED,
    "TopicDisallowed": OutcomeKind.MISCONFIGURED,
    "IdleTimeout": OutcomeKind.TRANSIENT,
}
_EXPIRED = "ExpiredProviderToken"
_HEX = re.compile(r"[0-9A-Fa-f]+")

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`private_key` is the .p8 file that Apple gives out, or what is in it."""

    team_id: str
    key_id: str
    private_key: Secret
    topic: str  #: the app's bundle id
    environment: Literal["production", "sandbox"] = "production"


class Apns(HttpProvider):
    """Sends to the devices of one app."""

    channels = frozenset({Channel.PUSH})
    kinds = frozenset({ContactKind.APNS})
    max_in_flight = 512
    idempotent = False  # apns-id only names it; the collapse id sees to it that a second one shows once
    limits = Limits(max_body_bytes=4_096, required=(("title", "body"),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        self._topic = settings.topic
        self._url = rebased(f"{HOSTS[settings.environment]}/3/device/", self.base_url)
        self._token = ProviderToken(settings.team_id, settings.key_id, _key(settings.private_key, config))

    def check(self, message: Message) -> Outcome | None:
        return super().check(message) or checked(message)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        headers = {
            "apns-id": str(UUID(bytes=message.delivery_id)),
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            # 5: "based on power considerations on the device"
            "apns-priority": "5" if message.priority >= Priority.bulk else "10",
            "apns-collapse-id": tag_of(message),
        }
        ttl = seconds_to_live(message, now)
        if ttl is not None:
            headers["apns-expiration"] = str(now // SECOND + ttl)
        return HttpRequest(
            url=self._url + quote(message.address, safe=""),
            headers=headers,
            body=_encode(payload(message)),
            http2=True,
        )

    def recall_for(self, message: Message, now: int) -> HttpRequest:
        """A background message: the badge changes by itself, and the app removes the notification of this tag."""
        tag = tag_of(message)
        aps = given(**{"content-available": 1}, badge=badge_of(message))
        headers = {
            "apns-topic": self._topic,
            "apns-push-type": "background",
            "apns-priority": "5",  # what Apple asks of background messages
            "apns-collapse-id": tag,  # in place of the one that a device which is off hasn't got yet
        }
        ttl = seconds_to_live(message, now)
        if ttl is not None:
            headers["apns-expiration"] = str(now // SECOND + ttl)
        return HttpRequest(
            url=self._url + quote(message.address, safe=""),
            headers=headers,
            body=_encode({"aps": aps, **recall_data(message, tag)}),
            http2=True,
        )

    async def call(self, request: HttpRequest, now: int) -> HttpResponse | Outcome:
        token = self._token.at(now)
        answer = await self.http.call(_bearing(request, token))
        if isinstance(answer, Outcome) or answer.status != 403 or _reason_in(answer) != _EXPIRED:
            return answer
        again = self._token.after(token, now)
        return answer if again == token else await self.http.call(_bearing(request, again))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return accepted(response.headers.get("apns-id") or str(UUID(bytes=message.delivery_id)))
        reason = fit(_reason_in(response), message.address)
        code = reason or str(status)
        told = f"APNs answered {status}"
        if must_wait(status):
            wait = UPDATES_WAIT if reason == "TooManyProviderTokenUpdates" else None
            return refusal(response, kind_of_status(status), code, told, wait)
        if status == 413:
            return invalid("APNs says that the payload is too large")
        kind = _kind(status, reason, message)
        since = object_in(response.body).get("timestamp") if kind is OutcomeKind.BAD_ADDRESS else None
        outcome = refusal(response, kind, code, told)
        return msgspec.structs.replace(outcome, since=since) if isinstance(since, int) else outcome


def payload(message: Message) -> dict[str, Any]:
    """What the device gets: https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification"""
    parts = message.parts
    aps = given(
        alert=named(parts, title="title", subtitle="ios.subtitle", body="body"),
        badge=badge_of(message),
        sound=parts.get("ios.sound") or parts.get("sound"),
        **named(parts, category="ios.category"),
    )
    aps |= named(parts, **{"thread-id": "ios.thread_id", "interruption-level": "ios.interruption_level"})
    image = named(parts, image="image")
    if image:
        aps["mutable-content"] = 1  # so that the app's service extension may fetch it
    return {"aps": aps, **image, **data_of(message)}


def _kind(status: int, reason: str, message: Message) -> OutcomeKind:
    """What a refusal means that no waiting mends."""
    if reason == "BadDeviceToken":
        return OutcomeKind.REFUSED if _HEX.fullmatch(message.address) else OutcomeKind.BAD_ADDRESS
    if status == 410 and not reason:  # "The device token is no longer active for the topic."
        return OutcomeKind.BAD_ADDRESS
    return OUTCOMES.get(reason) or kind_of_status(status)


def _reason_in(response: HttpResponse) -> str:
    reason = object_in(response.body).get("reason")
    return reason if isinstance(reason, str) else ""


def _bearing(request: HttpRequest, token: str) -> HttpRequest:
    return msgspec.structs.replace(request, headers={**request.headers, "authorization": f"bearer {token}"})


class ProviderToken:
    """The token of a team: the same in every process at the same time."""

    def __init__(self, team_id: str, key_id: str, key: ec.EllipticCurvePrivateKey) -> None:
        self._team, self._key_id, self._key = team_id, key_id, key
        self._issued, self._token = -1, ""

    def at(self, now: int) -> str:
        """The token to send now."""
        slot = (now - YOUNGEST) // SLOT * SLOT
        if slot - self._issued >= LEAST_BETWEEN or self._issued < 0:
            self._make(slot)
        return self._token

    def after(self, refused: str, now: int) -> str:
        """The token to try after Apple called one expired; the same one if it is too young to be made anew."""
        newest = (now - YOUNGEST) // MINUTE * MINUTE
        if refused == self._token and newest - self._issued >= LEAST_BETWEEN:
            self._make(newest)
        return self._token

    def _make(self, issued: int) -> None:
        claims = {"iss": self._team, "iat": issued // SECOND}
        self._issued, self._token = issued, signed(self._key, {"kid": self._key_id}, claims)


def _key(secret: Secret, config: ProviderConfig) -> ec.EllipticCurvePrivateKey:
    try:
        return key_in(secret.reveal())
    except ValueError:
        raise config.wrong("private_key is neither a .p8 file of Apple's that can be read nor the text in it") from None
