"""Mail as bytes, read back by the standard library's newer parser."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.deliveries.mime import mail, one_line
from clarion.model.delivery import Attachment
from clarion.model.mail import Sender, ascii_address, sender_of
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


#: Lone surrogates too; and often what ends a line, a word or a quotation for some reader.
ANY_TEXT = st.text(st.characters(exclude_categories=[])) | st.text(
    st.sampled_from('ab \t\r\n\x00\x0b\x7f\x85\u2028:;,."\\=?<>ü日\ud800🎉')
)


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


LOGO = Attachment(filename="logo.png", content_type="image/png", content=bytes(range(256)), cid="logo")
INVOICE = Attachment(filename="Rechnung für März.pdf", content_type="application/pdf", content=b"%PDF-1.7 \r\n\n" * 40)


def tree(part: MIMEPart) -> Any:
    """A mail's form: its content types, nested."""
    if part.is_multipart():
        return {part.get_content_subtype(): [tree(inner) for inner in part.iter_parts()]}
    return part.get_content_type()


@pytest.mark.parametrize(
    "parts,attachments,form",
    [
        ({"text": "t"}, (INVOICE,), {"mixed": ["text/plain", "application/pdf"]}),
        ({"html": "h"}, (LOGO,), {"related": ["text/html", "image/png"]}),
        ({"text": "t"}, (LOGO,), {"mixed": ["text/plain", "image/png"]}),
        (
            {"text": "t", "html": "h"},
            (INVOICE, LOGO),
            {
                "mixed": [
                    {"alternative": ["text/plain", {"related": ["text/html", "image/png"]}]},
                    "application/pdf",
                ]
            },
        ),
    ],
)
def test_a_mail_has_the_simplest_form_that_holds_what_it_has(
    parts: dict[str, str], attachments: tuple[Attachment, ...], form: Any
) -> None:
    content = mail(message(parts={"subject": "s", **parts}, attachments=attachments), SENDER, "ada@example.com")
    assert tree(read(content)) == form


def test_files_arrive_byte_for_byte_under_their_names() -> None:
    content = mail(message(attachments=(LOGO, INVOICE)), SENDER, "ada@example.com")
    files = [part for part in read(content).walk() if part.get_content_maintype() in ("image", "application")]
    assert [(f.get_content(), f.get_filename(), f.get_content_disposition(), f["Content-ID"]) for f in files] == [
        (LOGO.content, "logo.png", "inline", "<logo>"),
        (INVOICE.content, "Rechnung für März.pdf", "attachment", None),
    ]
    assert all(len(line) <= 78 for line in content.split(b"\r\n"))


@given(
    name=ANY_TEXT,
    content=st.binary(min_size=1),
    tags=st.lists(ANY_TEXT, max_size=3).map(tuple),
    display=ANY_TEXT.filter(lambda text: "<" not in text and ">" not in text),
)
def test_no_name_of_a_file_a_tag_or_a_sender_adds_a_header(
    name: str, content: bytes, tags: tuple[str, ...], display: str
) -> None:
    file = Attachment(filename=name, content_type="application/pdf", content=content)
    sent = mail(message(attachments=(file,), tags=tags), Sender(display, "no-reply@example.com"), "ada@example.com")
    assert sent.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", sent)
    assert all(len(line) <= 998 for line in sent.split(b"\r\n"))
    parsed = read(sent)
    assert sorted(parsed.keys()) == sorted(
        ["MIME-Version", "From", "To", "Subject", "Date", "Message-ID", "Content-Type", *(["Keywords"] if tags else [])]
    )
    assert parsed["From"].addresses[0].addr_spec == "no-reply@example.com"
    (found,) = parsed.iter_attachments()
    assert found.get_content() == content
    assert set(found.keys()) == {"Content-Type", "Content-Disposition", "Content-Transfer-Encoding"}


def test_the_message_may_name_its_sender_and_where_answers_go() -> None:
    parts = {"subject": "s", "text": "t", "from": "Übersicht <hi@shop.example>", "reply_to": "help@shop.example"}
    parsed = read(mail(message(parts=parts, tags=("orders", "de")), SENDER, "ada@example.com"))
    assert str(parsed["From"]) == "Übersicht <hi@shop.example>"
    assert parsed["Reply-To"] == "help@shop.example"
    assert parsed["Message-ID"].endswith("@shop.example>")
    assert parsed["Keywords"] == "orders, de"


@pytest.mark.parametrize(
    "text", ["Grüße,\nAda", "日本語のテキスト\n" * 20, "x" * 2_000, " \n.\n\tx \n", "a\r\nb\rc\n\n"]
)
def test_any_body_is_read_back(text: str) -> None:
    for parts in ({"text": text}, {"text": text, "html": "h"}):
        parsed = read(mail(message(parts={"subject": "s", **parts}), SENDER, "ada@example.com"))
        wanted = text.replace("\r\n", "\n").replace("\r", "\n")
        assert text_of(parsed, "plain").removesuffix("\n") == wanted.removesuffix("\n")
