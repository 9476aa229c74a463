"""A message as mail: RFC 5322 headers, text and HTML as multipart/alternative, all of it in 7-bit lines.

Built from the standard library's email package with its older policy. The newer one (EmailMessage) writes a long
List-Unsubscribe as an encoded word, which breaks one-click unsubscribing (RFC 8058), and takes 1 to 3 ms a mail, three
times as long. The same delivery gives the same bytes at every attempt. No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.charset import BASE64, QP, Charset
from email.header import Header
from email.message import Message as Mime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr
from typing import NamedTuple

import idna

from clarion.model import ids
from clarion.model.delivery import Message

#: RFC 5322 section 2.1.1: a line may have 998 characters without its end.
LONGEST_LINE = 998

_WIRE = compat32.clone(linesep="\r\n", max_line_length=None)
_UTF8 = Charset("utf-8")
_UTF8.header_encoding, _UTF8.body_encoding = BASE64, QP

_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")  # all that some reader takes for the end of a line
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what text may not hold (tab and line ends stay)
_HEADER_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 3.6.8
_SENDER = re.compile(r"(?P<name>[^<>\r\n]*)<(?P<named>[^<>]+)>|(?P<bare>[^\s<>]+)")
#: Headers that this module writes itself; a message can't set them.
_OWN = frozenset({"from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version"})


class Sender(NamedTuple):
    """Who mail comes from: `Example <no-reply@example.com>`, taken apart."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def sender_of(text: str) -> Sender:
    """Reads `Example <no-reply@example.com>`. Raises ValueError."""
    found = _SENDER.fullmatch(text.strip())
    if found is None:
        raise ValueError("this isn't a sender's address")
    return Sender((found["name"] or "").strip().strip('"'), ascii_address(found["named"] or found["bare"]))


def ascii_address(address: str) -> str:
    """The address with its domain in ASCII, fit for an SMTP command. Raises ValueError; its text holds no address."""
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or _BREAKS.search(address) or re.search(r'[\s<>",]', address):
        raise ValueError("this isn't an email address")
    try:
        return f"{local}@{domain if domain.isascii() else idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise ValueError("the address's domain isn't one") from None


def one_line(text: str) -> str:
    """`text` as a header takes it: what could end the line is a space."""
    return _BREAKS.sub(" ", _sound(text)).strip()


def mail(message: Message, sender: Sender, to: str) -> bytes:
    """The mail's bytes, in lines that end with CRLF. `to` is ASCII; the message has a text, an html, or both."""
    shown = ids.show(ids.DELIVERY, message.delivery_id)
    root = _content(message.parts, boundary=f"=_{shown}")
    root["From"] = formataddr((sender.name, sender.address), _UTF8)
    root["To"] = to
    root["Subject"] = _encoded("Subject", message.parts.get("subject", ""))
    root["Date"] = format_datetime(datetime.fromtimestamp(message.accepted_at // 1000, UTC))
    root["Message-ID"] = f"<{shown}@{sender.domain}>"
    for name, value in message.headers.items():
        if _HEADER_NAME.fullmatch(name) and name.lower() not in _OWN and not name.lower().startswith("content-"):
            root[name] = _encoded(name, value)
    data = root.as_bytes()
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def _content(parts: Mapping[str, str], boundary: str) -> Mime:
    found = [_text(parts[part], kind) for part, kind in (("text", "plain"), ("html", "html")) if parts.get(part)]
    if len(found) == 1:
        return found[0]
    both = MIMEMultipart("alternative", boundary=boundary, policy=_WIRE)
    for one in found:
        del one["MIME-Version"]  # belongs to the whole
        both.attach(one)
    return both


def _text(text: str, kind: str) -> MIMEText:
    text = _CONTROLS.sub("", _sound(text).replace("\r\n", "\n").replace("\r", "\n"))
    plain = text.isascii() and all(len(line) <= LONGEST_LINE for line in text.split("\n"))
    return MIMEText(text, kind, "us-ascii" if plain else _UTF8, policy=_WIRE)  # type: ignore[arg-type]  # the stub's charset


def _encoded(name: str, value: str) -> str:
    value = one_line(value)
    if value.isascii() and "=?" not in value and len(name) + 2 + len(value) <= LONGEST_LINE:
        return value
    return Header(value, _UTF8, header_name=name).encode(linesep="\r\n", maxlinelen=76)


def _sound(text: str) -> str:
    """Without lone surrogates, which no charset can write."""
    return text.encode("utf-8", "replace").decode()
