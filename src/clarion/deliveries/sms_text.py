"""What a text costs as SMS, and what the words that people text back mean. Pure.

3GPP TS 23.038 has two alphabets: GSM-7 (160 characters in one segment, 153 in each of several; ten characters count
twice) and UCS-2 (70 and 67 UTF-16 units) for every text with a character outside the first. One emoji doubles the
price: so previews name the character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from clarion.model.words import ReceiptEvent

GSM7: Final = "GSM-7"
UCS2: Final = "UCS-2"

#: TS 23.038 section 6.2.1, without the escape character.
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: TS 23.038 section 6.2.1.1: an escape and a character, so two septets.
_EXTENSION: Final = "\f^{}\\[~]|€"

_FOREIGN: Final = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")
_DOUBLE: Final = re.compile(f"[{re.escape(_EXTENSION)}]")
_PAIR: Final = re.compile("[\U00010000-\U0010ffff]")


class SmsText(msgspec.Struct, frozen=True, kw_only=True):
    """A text as the network counts it."""

    segments: int
    encoding: str  #: GSM-7 or UCS-2
    units: int  #: septets, or UTF-16 units
    forced_by: str | None = None  #: the first character that GSM-7 doesn't have


def is_gsm7(text: str) -> bool:
    """Whether the GSM alphabet has every character of it."""
    return _FOREIGN.search(text) is None


def measure(text: str) -> SmsText:
    """How many segments `text` takes, in which alphabet, and why."""
    foreign = _FOREIGN.search(text)
    encoding, wide, alone, each = (UCS2, _PAIR, 70, 67) if foreign else (GSM7, _DOUBLE, 160, 153)
    units = len(text) + len(wide.findall(text))
    if units <= alone:
        segments = 1 if text else 0
    elif units == len(text):
        segments = -(-units // each)
    else:
        segments = _cut(text, wide.match, each)
    return SmsText(segments=segments, encoding=encoding, units=units, forced_by=foreign.group() if foreign else None)


def _cut(text: str, is_wide: Callable[[str], object], each: int) -> int:
    """Segments of a long text with characters of two units: none is torn apart, so a segment may stay one short."""
    segments, room = 0, 0
    for character in text:
        size = 2 if is_wide(character) else 1
        if size > room:
            segments, room = segments + 1, each
        room -= size
    return segments


#: What providers take as words on the subscription, if nothing else is said: https://help.twilio.com/articles/223134027
#: (read 2026-11). "Yes" is left out: it answers other questions as well.
_KEYWORDS: Final = {
    **dict.fromkeys(
        ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"), ReceiptEvent.UNSUBSCRIBED
    ),
    **dict.fromkeys(("START", "UNSTOP"), ReceiptEvent.RESUBSCRIBED),
    **dict.fromkeys(("HELP", "INFO"), ReceiptEvent.HELP),
}


def keyword_in(text: str) -> ReceiptEvent | None:
    """What a texted STOP, START or HELP asks for; None for any other message."""

    return _KEYWORDS.get(text.strip(" \t\r\n.!\"'").upper())
