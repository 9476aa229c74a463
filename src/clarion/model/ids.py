"""Ids: 16 bytes in UUIDv7 order (RFC 9562), shown with a prefix that tells what they name.

An event's id is drawn; the ids of its notifications and deliveries are derived from it, so that a shard
decided again makes nothing twice. They are laid out so that a primary key answers what would otherwise
need a secondary index:

    event         | 6 bytes ms | 2 bytes version + a |  8 bytes variant + b                         |
    notification  | 6 bytes ms | 2 bytes version + a |  8 bytes hash(event, workflow, recipient)     |
    delivery      | 6 bytes ms | 2 bytes version + a |  4 bytes of the notification's | 4 bytes hash |
    digest        | as a notification, but of version 8: the ms are those of its close   |

All notifications of an event share its first 8 bytes, all deliveries of a notification its first 12:
`span` gives the key range to scan. Other rows may fall into the range (rarely), so that readers also
compare the `event_id` or `notification_id` column.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from struct import Struct
from typing import Final

Id = bytes

EVENT: Final = "evt"
NOTIFICATION: Final = "ntf"
DELIVERY: Final = "dlv"
ATTEMPT: Final = "att"
CONTACT: Final = "con"
DEVICE: Final = "dev"
SUPPRESSION: Final = "sup"
API_KEY: Final = "key"
OUTBOX: Final = "out"


_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
#: Ten bits as text: ids are shown so often that one digit at a time would cost more than anything else about them.
_PAIRS: Final = tuple(a + b for a in _DIGITS for b in _DIGITS)
_HALVES: Final = Struct(">QQ").unpack
_58_BITS: Final = (1 << 58) - 1


class InvalidId(ValueError):
    """Raised for a text that isn't an id of the wanted kind."""


def new_id(now: int, entropy: bytes) -> Id:
    """A fresh UUIDv7 from `now` (ms) and 10 random bytes."""
    raw = bytearray(now.to_bytes(6, "big") + entropy[:10])
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return bytes(raw)


def _digest(size: int, parts: tuple[str | bytes | int, ...]) -> bytes:
    h = blake2b(digest_size=size)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        h.update(len(data).to_bytes(4, "big"))
        h.update(data)
    return h.digest()


def notification_id(event: Id, workflow: str, recipient: str) -> Id:
    """The id of what `workflow` tells `recipient` about `event`; the same at every try."""
    tail = _digest(8, (event, workflow, recipient))
    return event[:8] + bytes([0x80 | (tail[0] & 0x3F)]) + tail[1:]


def digest_run(event: Id, workflow: str, recipient: str, key: bytes, now: int) -> Id:
    """Names what `event` began to gather at `now` under a digest key, on all channels."""
    return derived_id(event, "digest", workflow, recipient, key, now)


def digest_id(run: Id, closes_at: int) -> Id:
    """The id of the notification that a run's buckets become at `closes_at`; the same on all channels that close then.

    A UUID of version 8, while events and what is derived from them have version 7: it is in no event's span.
    """
    return closes_at.to_bytes(6, "big") + bytes([0x80 | (run[6] & 0x0F), run[7], 0x80 | (run[8] & 0x3F)]) + run[9:]


def is_digest(notification: Id) -> bool:
    """Whether this notification tells what was gathered."""
    return notification[6] >> 4 == 8


def delivery_id(notification: Id, step: int, contact: Id | None) -> Id:
    """The id of step `step` of a notification to one contact point (None: no contact point)."""
    return notification[:12] + _digest(4, (notification, step, contact or b""))


def attempt_id(delivery: Id, number: int) -> Id:
    """The id of the `number`-th attempt of a delivery, counted from 1."""
    tail = _digest(8, (delivery, number))
    return delivery[:8] + bytes([0x80 | (tail[0] & 0x3F)]) + tail[1:]


def derived_id(base: Id, *parts: str | bytes | int) -> Id:
    """Any other id that must come out the same at every try: `base`'s time bits and a hash of `parts`."""
    tail = _digest(8, (base, *parts))
    return base[:8] + bytes([0x80 | (tail[0] & 0x3F)]) + tail[1:]


def span(base: Id, size: int) -> tuple[Id, Id]:
    """First and last id that share the first `size` bytes of `base` (8: an event's, 12: a notification's)."""
    head = base[:size]
    return head + b"\x00" * (16 - size), head + b"\xff" * (16 - size)


def time_of(value: Id) -> int:
    """The ms that an id carries."""
    return int.from_bytes(value[:6], "big")


def show(prefix: str, value: Id) -> str:
    """`evt_0001...`: sortable as text, 26 characters after the prefix."""
    high, low = _HALVES(value)  # small numbers: of large ones every shift makes another
    middle, last = (high & 15) << 6 | low >> 58, (low & _58_BITS) << 2
    t = _PAIRS  # thirteen times ten bits
    return (
        f"{prefix}_{t[high >> 54]}{t[high >> 44 & 1023]}{t[high >> 34 & 1023]}{t[high >> 24 & 1023]}"
        f"{t[high >> 14 & 1023]}{t[high >> 4 & 1023]}{t[middle]}{t[last >> 50]}{t[last >> 40 & 1023]}"
        f"{t[last >> 30 & 1023]}{t[last >> 20 & 1023]}{t[last >> 10 & 1023]}{t[last & 1023]}"
    )


def read(prefix: str, text: str) -> Id:
    """The id behind what `show` gave. Raises InvalidId."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != 26:
        raise InvalidId(f"not an id of this kind: it begins with {prefix}_ and has 26 characters after it")
    try:
        return base64.b32hexdecode(body.upper() + "======")
    except ValueError as error:
        raise InvalidId(f"not an id: {prefix}_ is followed by a character outside 0-9, a-v") from error
