"""A message as mail: RFC 5322 headers, text and HTML as alternatives, inline images, attachments; all in 7-bit lines.

Written by hand, because the standard library's email package takes ten times as long, and its newer policy writes a
long List-Unsubscribe as an encoded word, which breaks one-click unsubscribing (RFC 8058). In the tests that package
reads it back. The same delivery gives the same bytes at every attempt. No I/O, no clock.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from clarion.model import ids
from clarion.model.delivery import Attachment, Message
from clarion.model.mail import Sender, may_set, sender_of

#: RFC 5322 section 2.1.1: a line may have 998 characters without its end, and should have 78.
LONGEST_LINE = 998

_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")  # all that some reader takes for the end of a line
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})  # what text may not hold
_ASCII = bytes(range(0x80))


class _Entity(NamedTuple):
    """A part of a mail: its own headers, each with its line end, and its lines without the last one's end."""

    head: str
    body: bytes


def headers_of(message: Message) -> dict[str, str]:
    """The headers that the message brings, each value in ASCII and unfolded: as the APIs of providers take them."""
    return {
        name: encoded(name, value).replace("\r\n ", " ") for name, value in message.headers.items() if may_set(name)
    }


def sender_for(message: Message, usual: Sender) -> Sender:
    """The message's own sender, or the provider's. Raises ValueError."""
    own = message.parts.get("from")
    return sender_of(own) if own else usual


def reply_to(message: Message) -> Sender | None:
    """Where answers go, if not to the sender. Raises ValueError."""
    to = message.parts.get("reply_to")
    return sender_of(to) if to else None


def one_line(text: str) -> str:
    """`text` as a header takes it: what could end the line is a space."""
    return _BREAKS.sub(" ", sound(text)).strip()


def sound(text: str) -> str:
    """Without lone surrogates, which no charset can write."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def mail(message: Message, sender: Sender, to: str) -> bytes:
    """The mail's bytes, in lines that end with CRLF. `sender` is the usual one, `to` is ASCII. Raises ValueError."""
    sender, answers_to = sender_for(message, sender), reply_to(message)
    shown = ids.show(ids.DELIVERY, message.delivery_id)
    lines = [
        "MIME-Version: 1.0",
        f"From: {mailbox(sender)}",
        f"To: {to}",
        f"Subject: {encoded('Subject', message.parts.get('subject', ''))}",
        f"Date: {_date(message.accepted_at // 1000)}",
        f"Message-ID: <{shown}@{sender.domain}>",
    ]
    if answers_to is not None:
        lines.append(f"Reply-To: {mailbox(answers_to)}")
    if message.tags:
        lines.append(f"Keywords: {encoded('Keywords', ', '.join(message.tags))}")
    lines += [f"{name}: {encoded(name, value)}" for name, value in message.headers.items() if may_set(name)]
    whole = _whole(message.parts, message.attachments, shown)
    end = b"" if whole.body.endswith(b"\r\n") else b"\r\n"
    return "\r\n".join((*lines, whole.head, "")).encode("ascii") + whole.body + end


def size_of(message: Message) -> int:
    """About as many bytes as the mail will have, before it is written."""
    texts = sum(len(text.encode("utf-8", "replace")) for text in message.parts.values())
    return texts + sum(len(file.content) * 78 // 57 for file in message.attachments)


def _whole(parts: Mapping[str, str], attachments: tuple[Attachment, ...], mark: str) -> _Entity:
    """The content: what is shown, and then the files; the simplest form that holds it."""
    text, html = parts.get("text"), parts.get("html")
    shown = [_text(text or "", "plain")] if text or not html else []
    if html:
        images = [_file(one) for one in attachments if one.cid]
        page = _text(html, "html")
        shown.append(_multipart("related", [page, *images], mark) if images else page)
    body = shown[0] if len(shown) == 1 else _multipart("alternative", shown, mark)
    files = [_file(one) for one in attachments if not (one.cid and html)]
    return _multipart("mixed", [body, *files], mark) if files else body


def _multipart(kind: str, entities: list[_Entity], mark: str) -> _Entity:
    boundary = f"=_{kind}_{mark}"  # the delivery's id stands in no text but by intent, and then harms that text only
    between = f"--{boundary}\r\n"
    lines: list[bytes] = []
    for entity in entities:
        lines += [f"{between}{entity.head}\r\n".encode("ascii"), entity.body, b"\r\n"]
    lines.append(f"--{boundary}--".encode("ascii"))
    return _Entity(f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n', b"".join(lines))


def _text(text: str, kind: str) -> _Entity:
    data = text.encode("utf-8", "replace").translate(None, _CONTROLS)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.replace(b"\n", b"\r\n")
    if data.isascii() and max(map(len, data.split(b"\r\n"))) <= LONGEST_LINE:
        return _Entity(_TEXT_HEAD.format(kind, "us-ascii", "7bit"), data)
    if len(data.translate(None, _ASCII)) * 6 > len(data):  # then quoting makes it longer than base64 does
        return _Entity(_TEXT_HEAD.format(kind, "utf-8", "base64"), _wrapped(data))
    # b2a_qp writes its soft line ends as the first line end that it finds.
    quoted = b2a_qp(b"\r\n" + data + b"\r\n", istext=True)[2:-2]
    return _Entity(_TEXT_HEAD.format(kind, "utf-8", "quoted-printable"), quoted)


_TEXT_HEAD = 'Content-Type: text/{}; charset="{}"\r\nContent-Transfer-Encoding: {}\r\n'


@lru_cache(maxsize=64)  # the same files go to all recipients of an event
def _file(file: Attachment) -> _Entity:
    name = _parameter("name", file.filename)
    lines = [
        f"Content-Type: {file.content_type};\r\n {name}",
        f"Content-Disposition: {'inline' if file.cid else 'attachment'};\r\n file{name}",
        "Content-Transfer-Encoding: base64",
    ]
    if file.cid:
        lines.append(f"Content-ID: <{file.cid}>")
    return _Entity("\r\n".join((*lines, "")), _wrapped(file.content))


def _parameter(name: str, value: str) -> str:
    """`name="value"`, or as RFC 2231 has it outside ASCII."""
    value = one_line(value)
    if value.isascii():
        return '{}="{}"'.format(name, re.sub(r'(["\\])', r"\\\1", value))
    return f"{name}*=utf-8''{quote(value, safe='')}"


def _wrapped(data: bytes) -> bytes:
    """Base64 in lines of 76 characters."""
    line = b2a_base64(data, newline=False)
    return b"\r\n".join([line[start : start + 76] for start in range(0, len(line), 76)])


@lru_cache(maxsize=64)
def base64_of(content: bytes) -> str:
    """A file's content as the APIs of providers take it."""
    return b2a_base64(content, newline=False).decode("ascii")


@lru_cache(maxsize=1_024)
def mailbox(sender: Sender) -> str:
    """A sender as a header shows it, folded where it is long."""
    name = one_line(sender.name)
    if name.isascii() and "=?" not in name:
        return formataddr((name, sender.address))
    return f"{' '.join(_words(name, 45))}\r\n <{sender.address}>".replace("?= =?", "?=\r\n =?")


@lru_cache(maxsize=1_024)
def shown_mailbox(sender: Sender) -> str:
    """A sender as the APIs of providers take it: they encode what isn't ASCII."""
    name = re.sub(r'["\\]', "", one_line(sender.name))
    if re.search(r"[()<>\[\]:;@,.]", name):
        name = f'"{name}"'
    return f"{name} <{sender.address}>" if name else sender.address


@lru_cache(maxsize=1_024)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def encoded(name: str, value: str) -> str:
    """A header's value on one line, or as encoded words (RFC 2047) on several."""
    value = one_line(value)
    if value.isascii() and "=?" not in value and len(name) + 2 + len(value) <= LONGEST_LINE:
        return value
    return "\r\n ".join(_words(value, (76 - len(name) - 2 - 12) // 4 * 3))


def _words(text: str, room: int) -> Iterator[str]:
    """Encoded words of at most 75 characters, whole characters in each; the first holds `room` bytes."""
    data = text.encode()
    if room < 4:
        yield ""
        room = 45
    while data:
        end = min(room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield f"=?utf-8?b?{b2a_base64(data[:end], newline=False).decode('ascii')}?="
        data, room = data[end:], 45
