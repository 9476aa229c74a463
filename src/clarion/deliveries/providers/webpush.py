"""Web push to browsers: RFC 8030 (protocol), 8291 (encryption: `message_encryption.py`), 8292 (VAPID).

    2xx             accepted (201; 202 where a receipt was asked for)
    404, 410        bad_address: the subscription is over (RFC 8030 sections 5 and 7.3)
    413             refused, PAYLOAD_INVALID
    429             throttled, with Retry-After (RFC 8030 section 8.4)
    408, 5xx        transient, with Retry-After
    any 3xx         refused: nothing is followed
    other 4xx       refused. 401 and 403 too: mostly the subscription was made with another VAPID key (RFC 8292 section
                    4.2), and the endpoint is one that a user has named. `misconfigured` would demote the provider for
                    everybody else's.

Every message has its own key pair and salt, as RFC 8291 asks, drawn by a keyed hash. One signature serves all messages
to a push service for half a day. A message costs 0.2 ms, nearly all of it the curve's arithmetic.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.clock import HOUR, SECOND
from clarion.deliveries.answers import kind_of_status, object_in, refusal
from clarion.deliveries.es256 import base64url, from_base64url, key_in, point_of, signed
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
from clarion.deliveries.message_encryption import MOST_PLAINTEXT, Receiver, drawn, encrypted
from clarion.deliveries.options import Secret, read
from clarion.deliveries.push import (
    LONGEST_TTL,
    badge_of,
    checked,
    data_of,
    digest_of,
    given,
    named,
    seconds_to_live,
    tag_of,
)
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind, Priority
from clarion.security.outbound import OutboundGuard, networks

#: RFC 8292 section 2: a signature's end is at most 24 h ahead.
SIGNED_FOR = 12 * HOUR
_SPARE = HOUR
#: Origins whose signature is kept; there are a handful of push services.
ORIGINS = 1_024
#: Subscriptions whose keys are kept read, for the next step or attempt.
SUBSCRIPTIONS = 2_048

#: RFC 8030 section 5.3.
URGENCY = {Priority.critical: "high", Priority.high: "high", Priority.normal: "normal", Priority.bulk: "low"}

#: Answers that don't follow their hundred.
OUTCOMES = {
    401: OutcomeKind.REFUSED,
    403: OutcomeKind.REFUSED,
    404: OutcomeKind.BAD_ADDRESS,
    410: OutcomeKind.BAD_ADDRESS,
}

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`vapid_private_key`: 32 bytes in base64url, as most tools make it; or a PEM file, or what is in it."""

    vapid_private_key: Secret
    subject: str  #: mailto: or https:, where a push service finds whoever runs this
    allow_private_networks: bool | list[str] = False


class Subscription(NamedTuple):
    """What a browser gave, read."""

    endpoint: str
    origin: str
    receiver: Receiver


class WebPush(HttpProvider):
    """Sends to the push services of browsers, each of which a subscription names."""

    channels = frozenset({Channel.WEB_PUSH})
    kinds = frozenset({ContactKind.WEBPUSH})
    max_in_flight = 512
    throttles_as_one = False
    limits = Limits(max_body_bytes=MOST_PLAINTEXT, required=(("title", "body"),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        self._key = _key(settings.vapid_private_key, config)
        scalar = self._key.private_numbers().private_value.to_bytes(32, "big")
        self._seed = hmac.digest(scalar, b"clarion: keys of web push messages", "sha256")
        self._public = base64url(point_of(self._key.public_key()))
        self._subject = settings.subject
        if not self._subject.startswith(("mailto:", "https://")):
            raise config.wrong("subject is written as mailto:you@example.com, or as an https:// address")
        try:
            self._guard = OutboundGuard(allowed=networks(settings.allow_private_networks))
        except Misconfigured as error:
            raise config.wrong(str(error)) from None
        self._authorization = lru_cache(ORIGINS)(self._authorize)

    def check(self, message: Message) -> Outcome | None:
        if refused := super().check(message) or checked(message):
            return refused
        if subscription_in(message.address) is None:
            return failed(OutcomeKind.BAD_ADDRESS, "invalid_subscription", "its key isn't one of the curve P-256")
        return None

    def request_for(self, message: Message, now: int) -> HttpRequest:
        to = subscription_in(message.address)
        assert to is not None, "check has seen to it"
        tag = tag_of(message)
        plaintext = _encode(payload(message, tag))
        ttl = seconds_to_live(message, now)
        return HttpRequest(
            url=rebased(to.endpoint, self.base_url),
            headers={
                "content-type": "application/octet-stream",
                "content-encoding": "aes128gcm",
                "ttl": str(LONGEST_TTL if ttl is None else ttl),
                "urgency": URGENCY[Priority(message.priority)],
                "topic": base64url(digest_of(tag, 24)),  # RFC 8030 section 5.4: 32 characters at most
                "authorization": self._authorization(to.origin, now // SIGNED_FOR),
            },
            body=self._encrypted(plaintext, to.receiver, message, now),
            counted=len(plaintext),
            guard=self._guard if self.base_url is None else None,  # the operator's own may well be private
        )

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        status, code = response.status, str(response.status)
        if 200 <= status < 300:
            return accepted(code=code)
        told = f"the push service answered {status}"
        if status == 413:
            return invalid(told)
        return refusal(response, OUTCOMES.get(status) or kind_of_status(status), code, told)

    def _authorize(self, origin: str, slot: int) -> str:
        """RFC 8292 section 3, for all messages to an origin in the slot."""
        expires = (slot + 1) * SIGNED_FOR + _SPARE
        claims = {"aud": origin, "exp": expires // SECOND, "sub": self._subject}
        return f"vapid t={signed(self._key, {'typ': 'JWT'}, claims)},k={self._public}"

    def _encrypted(self, plaintext: bytes, to: Receiver, message: Message, now: int) -> bytes:
        attempt = message.attempt.to_bytes(4, "big") + now.to_bytes(8, "big")
        one_time, salt = drawn(self._seed, message.delivery_id, attempt, to.point, to.auth, plaintext)
        return encrypted(plaintext, to, one_time, salt)


def payload(message: Message, tag: str) -> dict[str, Any]:
    """What the service worker gets."""
    return given(
        **named(message.parts, title="title", body="body", url="action_url", image="image", icon="icon"),
        badge=badge_of(message),
        tag=tag,
        data=data_of(message),
    )


@lru_cache(SUBSCRIPTIONS)
def subscription_in(address: str) -> Subscription | None:
    """A contact point's value, read; None if nothing can be encrypted for it."""
    plain = object_in(address.encode())
    try:
        endpoint, keys = plain["endpoint"], plain["keys"]
        receiver = Receiver(from_base64url(keys["p256dh"]), from_base64url(keys["auth"]))
        return Subscription(endpoint, origin_of(endpoint), receiver)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def origin_of(url: str) -> str:
    """Scheme, host and port, if it isn't the scheme's own (RFC 6454 section 6.2)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    named_host = f"[{host}]" if ":" in host else host
    usual = parts.port is None or (parts.scheme, parts.port) in (("https", 443), ("http", 80))
    return f"{parts.scheme}://{named_host}" + ("" if usual else f":{parts.port}")


def _key(secret: Secret, config: ProviderConfig) -> ec.EllipticCurvePrivateKey:
    text = secret.reveal()
    try:
        if len(text.rstrip("=")) == 43:  # 32 bytes
            return ec.derive_private_key(int.from_bytes(from_base64url(text), "big"), ec.SECP256R1())
        return key_in(text)
    except ValueError:
        raise config.wrong(
            "vapid_private_key is neither 32 bytes in base64url nor a PEM file of the curve P-256. "
            "A new pair: npx web-push generate-vapid-keys"
        ) from None
