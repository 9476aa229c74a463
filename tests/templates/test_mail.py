"""Headers, tags, attachments and preheaders of one email, rendered."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from clarion.model.delivery import Attachment
from clarion.model.events import Event
from clarion.model.people import Profile
from clarion.model.words import Channel
from clarion.model.workflow import AttachedFile, Step, Workflow
from clarion.sandbox.processes import Sandbox
from clarion.templates.budget import BudgetedTemplates
from clarion.templates.mail import Extras, render_extras
from clarion.templates.preview import render_preview
from clarion.templates.rendering import RenderFailed, render_parts
from clarion.templates.scope import scope_of

KITCHEN = BudgetedTemplates(Sandbox(1.0))

PDF = b"%PDF-1.7 \x00\xff"
CONTENT = "{{ event.data.pdf }}"


def scope(**data: Any) -> Any:
    return scope_of(Event(project=1, id=bytes(16), type="t", data=data), Profile(id="ann"))


def extras(data: dict[str, Any], **fields: Any) -> Extras:
    step = Step(index=0, channel=Channel.EMAIL, **fields)
    return render_extras(Workflow(key="w", steps=(step,)), step, scope(**data))


def file(**fields: Any) -> AttachedFile:
    return AttachedFile(**{"filename": "x.pdf", "content_type": "application/pdf", "content": CONTENT, **fields})


def reason(data: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(RenderFailed) as caught:
        extras(data, **fields)
    return str(caught.value)


def test_a_file_comes_out_of_the_events_base64() -> None:
    found = extras(
        {"pdf": b64encode(PDF).decode(), "n": "7/8"},
        attachments=(
            file(filename="invoice {{ event.data.n }}.pdf"),
            file(filename="a.ics", content=None, text="N:{{ event.data.n }}", content_type="text/calendar", cid="c"),
        ),
    )
    assert found.attachments == (
        Attachment(filename="invoice 7_8.pdf", content_type="application/pdf", content=PDF),
        Attachment(filename="a.ics", content_type="text/calendar", content=b"N:7/8", cid="c"),
    )


def test_all_recipients_of_an_event_share_the_bytes_of_a_file() -> None:
    data = {"pdf": b64encode(PDF * 100).decode()}
    first, second = (extras(data, attachments=(file(),)) for _ in range(2))
    assert first.attachments[0].content is second.attachments[0].content


@pytest.mark.parametrize(
    "data,fields,says",
    [
        ({"pdf": "not base64!"}, {}, "isn't base64"),
        ({"pdf": "QUJD?"}, {}, "isn't base64"),
        ({"pdf": "QUJ"}, {}, "isn't base64"),
        ({}, {}, "is empty"),
        ({}, {"content": None, "text": "{{ event.data.pdf }}"}, "is empty"),
        ({"pdf": "QUJD"}, {"filename": "{{ event.data.name }}"}, "filename is empty"),
        ({"pdf": "QUJD", "name": "../.."}, {"filename": "{{ event.data.name }}"}, ""),
    ],
)
def test_a_bad_file_says_what_is_wrong_and_repeats_nothing(
    data: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    if not says:
        assert extras(data, attachments=(file(**fields),)).attachments[0].filename == "_"
        return
    said = reason(data, attachments=(file(**fields),))
    assert says in said
    assert said.startswith("w, steps[0] (email), attachments[0]: ")
    assert "not base64!" not in said


def test_a_file_that_may_be_missing_is_left_out() -> None:
    assert extras({}, attachments=(file(optional=True),)).attachments == ()


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r", "\x00", "\x0b", "\u2028", "\x85"])
def test_a_line_break_in_a_header_is_refused(breaks: str) -> None:
    said = reason({"x": f"a{breaks}Bcc: eve@example.com"}, headers={"X-Ref": "{{ event.data.x }}"})
    assert "headers.X-Ref: a header can't hold a line break" in said
    assert "eve" not in said


def test_headers_and_tags_without_a_value_are_left_out() -> None:
    found = extras(
        {"x": "Größe L, rot", "long": "y" * 100},
        headers={"X-A": " {{ event.data.x }} ", "X-B": "{{ event.data.none }}"},
        tags=("orders", "{{ event.data.x }}", "{{ event.data.none }}", "orders", "{{ event.data.long }}"),
    )
    assert found == Extras({"X-A": "Größe L, rot"}, ("orders", "Gr-e-L-rot", "y" * 64), ())


@pytest.mark.parametrize("text", ["eve@example.com\r\nBcc: a@b.c", "nobody", "a@b.c, d@e.f", "A <a@b.c> <d@e.f>"])
@pytest.mark.parametrize("part", ["from", "reply_to"])
def test_a_sender_that_is_none_is_refused(part: str, text: str) -> None:
    step = Step(index=0, channel=Channel.EMAIL, parts={"subject": "s", "text": "t", part: "{{ event.data.x }}"})
    with pytest.raises(RenderFailed, match=f"{part}: this isn't a sender"):
        render_parts(Workflow(key="w", steps=(step,)), step, None, scope(x=text))


def test_a_preheader_is_hidden_at_the_beginning_of_the_html_and_escaped() -> None:
    parts = {"subject": "s", "html": '<html><body class="x"><p>Hi</p></body></html>', "preheader": "{{ event.data.x }}"}
    step = Step(index=0, channel=Channel.EMAIL, parts=parts)
    made = render_parts(Workflow(key="w", steps=(step,)), step, None, scope(x="<b>now\n& here"))
    assert made["html"].startswith('<html><body class="x"><div style="display:none;')
    assert "&lt;b&gt;now &amp; here&#847;" in made["html"]
    assert (made["text"], "preheader" in made) == ("Hi", False)


async def test_a_preview_shows_files_without_their_content() -> None:
    step = Step(
        index=0, channel=Channel.EMAIL, parts={"subject": "s", "text": "t"}, attachments=(file(cid="c"),), tags=("a",)
    )
    (shown,) = await render_preview(KITCHEN, Workflow(key="w", steps=(step,)), Profile(id="ann"), {"pdf": "QUJD"})
    assert shown == {
        "channel": "email",
        "parts": {"subject": "s", "text": "t"},
        "tags": ["a"],
        "attachments": [{"filename": "x.pdf", "content_type": "application/pdf", "size": 3, "cid": "c"}],
    }
