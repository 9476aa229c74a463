"""What an email is made of: who it comes from, how an address is written, which headers it may bring."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import idna

_SENDER = re.compile(r"(?P<name>[^<>\x00-\x1f\x7f\x85\u2028\u2029]*)<(?P<named>[^<>]+)>|(?P<bare>[^\s<>]+)")
# What would end an address, a line, or the text around an address, for some reader.
_UNFIT = re.compile(r'[\s\x00-\x1f\x7f\x85<>",;:()\[\]\\]')


_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 section 3.6.8
#: Headers that the mail itself, or whoever carries it, writes.
_OWN = frozenset(
    {
        *("from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "mime-version", "received"),
        *("return-path", "dkim-signature", "authentication-results", "keywords"),
    }
)
_OWN_FAMILIES = ("content-", "resent-", "arc-", "x-sg-", "x-ses-", "x-mailgun-", "x-pm-")


def may_set(name: str) -> bool:
    """Whether a message may bring a header of this name."""
    lower = name.lower()
    return bool(_HEADER_NAME.fullmatch(name)) and lower not in _OWN and not lower.startswith(_OWN_FAMILIES)


class Sender(NamedTuple):
    """Who mail comes from, or answers go to: `Example <no-reply@example.com>`, taken apart."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


@lru_cache(maxsize=1_024)
def sender_of(text: str) -> Sender:
    """Reads `Example <no-reply@example.com>`. Raises ValueError; its text repeats nothing."""
    found = _SENDER.fullmatch(text.strip())
    if found is None:
        raise ValueError("this isn't a sender's address")
    address = ascii_address(found["named"] or found["bare"])
    if not address.isascii():
        raise ValueError("this address has characters outside ASCII before its @")
    return Sender((found["name"] or "").strip().strip('"'), address)


@lru_cache(maxsize=1_024)
def ascii_address(address: str) -> str:
    """The address with its domain in ASCII, fit for an SMTP command. Raises ValueError; its text holds no address."""
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or _UNFIT.search(address):
        raise ValueError("this isn't an email address")
    try:
        return f"{local}@{domain if domain.isascii() else idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise ValueError("the address's domain isn't one") from None
