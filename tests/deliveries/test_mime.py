"""Mail as bytes, read back by the standard library's newer parser."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.deliveries.mime import Sender, ascii_address, mail, one_line, sender_of
from tests.deliveries.messages import message

SENDER = Sender("Example", "no-reply@example.com")
UNSUBSCRIBE = {
    "List-Unsubscribe": f"<https://notify.example.com/unsubscribe/{'aB3_-' * 40}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def read(content: bytes) -> EmailMessage:
    parsed = message_from_bytes(content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def text_of(parsed: EmailMessage, kind: str) -> str:
    body = parsed.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def test_text_and_html_are_alternatives_in_this_order() -> None:
    parsed = read(mail(message(), SENDER, "ada@example.com"))
    assert parsed.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]
    assert parsed["MIME-Version"] == "1.0"


@pytest.mark.parametrize("kind", ["text", "html"])
def test_one_part_alone_needs_no_multipart(kind: str) -> None:
    parsed = read(mail(message(parts={"subject": "s", kind: "Hällo"}), SENDER, "ada@example.com"))
    assert parsed.get_content_type() == ("text/plain" if kind == "text" else "text/html")
    assert parsed.get_content().rstrip() == "Hällo"


def test_the_head_says_who_when_and_which() -> None:
    parsed = read(mail(message(headers=UNSUBSCRIBE), Sender("Bücher, GmbH", "no-reply@example.com"), "ada@example.com"))
    assert parsed["From"].addresses[0].display_name == "Bücher, GmbH"
    assert parsed["From"].addresses[0].addr_spec == "no-reply@example.com"
    assert parsed["Date"] == "Mon, 01 Mar 2027 12:00:00 +0000"
    assert re.fullmatch(r"<dlv_[0-9a-v]{26}@example\.com>", parsed["Message-ID"])


def test_a_long_unsubscribe_link_stays_in_clear_and_in_one_piece() -> None:
    # RFC 8058 readers look for the URI itself; an encoded word, as the newer policy would write, hides it.
    content = mail(message(headers=UNSUBSCRIBE), SENDER, "ada@example.com")
    for name, value in UNSUBSCRIBE.items():
        assert f"\r\n{name}: {value}\r\n".encode() in content


def test_a_subject_in_any_script_is_read_back_and_folded() -> None:
    subject = "Fünf neue Antworten auf deinen Beitrag über die Dinge der Welt, und mehr — 日本語 🎉"
    content = mail(message(parts={"subject": subject, "text": "x"}), SENDER, "ada@example.com")
    assert read(content)["Subject"] == subject
    assert all(len(line) <= 78 for line in content.split(b"\r\n"))


def test_a_subject_that_looks_encoded_is_shown_as_it_was_written() -> None:
    subject = "=?utf-8?q?You_won?="
    assert read(mail(message(parts={"subject": subject, "text": "x"}), SENDER, "a@b.c"))["Subject"] == subject


def test_headers_that_the_mail_has_itself_cannot_be_set() -> None:
    own = {
        "From": "x@y.z",
        "bcc": "x@y.z",
        "TO": "x@y.z",
        "Content-Type": "text/evil",
        "message-id": "<1@2>",
        "Date": "now",
    }
    content = mail(message(headers=own), SENDER, "ada@example.com")
    assert content == mail(message(), SENDER, "ada@example.com")


@pytest.mark.parametrize("name", ["X-A\r\nBcc", "X A", "X:A", "", "X\x00", "Ü"])
def test_a_header_with_an_impossible_name_is_left_out(name: str) -> None:
    assert mail(message(headers={name: "v"}), SENDER, "a@b.c") == mail(message(), SENDER, "a@b.c")


ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


@given(subject=ANY_TEXT, text=ANY_TEXT, html=ANY_TEXT, value=ANY_TEXT)
def test_any_text_is_seven_bit_whole_lines_and_adds_no_header(subject: str, text: str, html: str, value: str) -> None:
    parts = {"subject": subject, "text": text or "x", "html": html or "x"}
    content = mail(message(parts=parts, headers={"X-Value": value}), SENDER, "ada@example.com")
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", content)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    names = [
        line.split(b":")[0] for line in re.sub(rb"\r\n[ \t]", b"", content.partition(b"\r\n\r\n")[0]).split(b"\r\n")
    ]
    assert sorted(names) == sorted(
        [b"Content-Type", b"MIME-Version", b"From", b"To", b"Subject", b"Date", b"Message-ID", b"X-Value"]
    )


LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)


@given(subject=LINES, lines=st.lists(LINES, min_size=1))
def test_what_is_sent_is_what_is_read(subject: str, lines: list[str]) -> None:
    text = "\n".join(lines)
    parsed = read(mail(message(parts={"subject": subject, "text": text, "html": "x"}), SENDER, "ada@example.com"))
    assert text_of(parsed, "plain") == text
    assert str(parsed["Subject"]).split() == one_line(subject).split()


@pytest.mark.parametrize(
    "text,sender",
    [
        ("no-reply@example.com", Sender("", "no-reply@example.com")),
        ("Example <no-reply@example.com>", Sender("Example", "no-reply@example.com")),
        ('"Example, Inc." <no-reply@bücher.example>', Sender("Example, Inc.", "no-reply@xn--bcher-kva.example")),
    ],
)
def test_a_sender_is_read(text: str, sender: Sender) -> None:
    assert sender_of(text) == sender


@pytest.mark.parametrize("text", ["", "Example", "Example <>", "a@", "@b", "a b <c d@e.f>", "a@b.c\r\nBcc: d@e.f"])
def test_a_sender_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        sender_of(text)


@given(st.text())
def test_an_address_is_fit_for_a_command_or_refused_without_being_repeated(text: str) -> None:
    try:
        address = ascii_address(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert not re.search(r"[\s<>\x00-\x1f]", address)
        assert address.rpartition("@")[2].isascii()
    assert said in ("", "this isn't an email address", "the address's domain isn't one")
