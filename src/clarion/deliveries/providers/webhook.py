"""Webhooks by Standard Webhooks 1.0.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    any 2xx             accepted
    410                 bad_address: the endpoint is gone and says so (spec: "disable the endpoint")
    429                 throttled, with Retry-After
    408, 425, any 5xx   transient, with Retry-After (spec: 502 and 504 "throttle"; a date to come back counts there too)
    any 3xx             refused: the spec forbids following, and a redirect answers no retry either
    other 4xx           refused. 401 and 403 too: they say that the receiver and its secret don't match. That is one
                        endpoint's trouble; `misconfigured` would demote the provider for everybody else's.
    webhook-delivery: abort-message
                        refused, whatever the status but 2xx: the receiver wants no further attempt (as with Svix)

The body is the same at every attempt; time stamp and signature are new. A receiver drops duplicates by `webhook-id`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from urllib.parse import urlsplit

import msgspec

from clarion.clock import SECOND, rfc3339
from clarion.deliveries.interface import (
    ABORTED,
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
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.security.outbound import OutboundGuard, networks

#: "15 to 30 s" in the specification.
TIMEOUT = 15 * SECOND

#: Answers that don't follow their hundred.
OUTCOMES = {
    408: OutcomeKind.TRANSIENT,  # RFC 9110 section 15.5.9: the client may repeat the request
    410: OutcomeKind.BAD_ADDRESS,
    425: OutcomeKind.TRANSIENT,  # RFC 8470 section 5.2
    429: OutcomeKind.THROTTLED,
}

_SECRET_PREFIX = "whsec_"  # nosec B105  # a form, not a secret

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` may hold several, separated by spaces or commas: all sign, so that a receiver can change over."""

    secret: Secret
    url: Secret | None = None  #: where contact points name none; may hold a token
    allow_private_networks: bool | list[str] = False


class Webhook(HttpProvider):
    """Posts to the contact point's URL, or to one of the operator's."""

    channels = frozenset({Channel.WEBHOOK})
    max_in_flight = 512
    throttles_as_one = False
    many_servers = True
    kinds = frozenset({ContactKind.URL})
    limits = Limits(max_body_bytes=1_048_576)

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        self._keys = keys_in(settings.secret, config)
        self._url = settings.url.reveal() if settings.url else ""
        if self._url and urlsplit(self._url).scheme not in ("http", "https"):
            raise config.wrong("url isn't one: write it as https://host/path")
        try:
            self._guard = OutboundGuard(allowed=networks(settings.allow_private_networks))
        except Misconfigured as error:
            raise config.wrong(str(error)) from None

    def check(self, message: Message) -> Outcome | None:
        if not message.address and not self._url:
            return invalid("neither the contact point nor the provider's config has a url")
        return super().check(message)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        delivery = ids.show(ids.DELIVERY, message.delivery_id)  # holds no dot: see the signature
        timestamp = str(now // SECOND)
        body = _encode(payload(message))
        # Only what users may set is guarded: the operator's own url and base_url may well be private.
        theirs = bool(message.address) and self.base_url is None
        return HttpRequest(
            url=rebased(message.address or self._url, self.base_url),
            headers={
                "content-type": "application/json",
                "webhook-id": delivery,
                "webhook-timestamp": timestamp,
                "webhook-signature": " ".join(signature(key, delivery, timestamp, body) for key in self._keys),
            },
            body=body,
            guard=self._guard if theirs else None,
            timeout=TIMEOUT,
        )

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        status, code = response.status, str(response.status)
        if 200 <= status < 300:
            return accepted(code=code)
        if response.headers.get("webhook-delivery", "").strip().lower() == "abort-message":
            return failed(OutcomeKind.REFUSED, ABORTED, f"the endpoint answered {status} and wants no further attempt")
        kind = OUTCOMES.get(status, OutcomeKind.TRANSIENT if status >= 500 else OutcomeKind.REFUSED)
        waits = kind in (OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED)
        return failed(kind, code, f"the endpoint answered {status}", response.retry_after if waits else None)


def payload(message: Message) -> dict[str, object]:
    """What the receiver gets; the specification's `type`, `timestamp`, `data`."""
    return {
        "type": message.event_type,
        "timestamp": rfc3339(message.accepted_at),
        "data": {
            "notification_id": ids.show(ids.NOTIFICATION, message.notification_id),
            "recipient": message.recipient,
            "workflow": message.workflow,
            "category": message.category,
            "parts": message.parts,
            "event": message.event_data,
        },
    }


def signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    """`v1,...` of `id.timestamp.body`."""
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def keys_in(secret: Secret, config: ProviderConfig) -> tuple[bytes, ...]:
    """The signing keys behind `whsec_...` texts, one at least. Raises Misconfigured."""
    return tuple(_key(text, config) for text in re.split(r"[\s,]+", secret.reveal().strip(", ")))


def _key(text: str, config: ProviderConfig) -> bytes:
    try:
        if not text.startswith(_SECRET_PREFIX):
            raise ValueError
        key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise config.wrong(
            "secret is written as whsec_ and base64; several are separated by spaces. "
            "A new one: python -c \"import base64,os;print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""
        ) from None
    if not 24 <= len(key) <= 64:
        raise config.wrong(f"secret has {len(key)} bytes: Standard Webhooks asks for 24 to 64")
    return key
