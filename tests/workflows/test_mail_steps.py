"""What a workflow file says of an email besides its parts."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from clarion.model.workflow import AttachedFile, Step
from clarion.workflows.definition import parse, restore
from clarion.workflows.files import load_folder
from clarion.workflows.problems import WorkflowErrors

PNG = b"\x89PNG\r\n\x1a\n\x00"


def plain(**fields: Any) -> dict[str, Any]:
    return {"key": "order", "on": ["o"], "steps": [{"channel": "email", "subject": "s", "html": "h", **fields}]}


def step(**fields: Any) -> Step:
    (read,) = parse(plain(**fields)).steps
    assert restore(plain(**fields)).steps == (read,)
    return read


def test_everything_an_email_may_say_is_read() -> None:
    read = step(
        **{"from": "Shop <hi@shop.example>", "reply_to": "{{ tenant.branding.mail }}", "preheader": "Soon"},
        headers={"X-Ref": "{{ event.data.order }}", "In-Reply-To": "<a@b>"},
        tags=["orders", "{{ event.data.country }}"],
        attachments=[
            {"filename": "{{ event.data.n }}.pdf", "content": "{{ event.data.pdf }}", "optional": True},
            {"filename": "logo.png", "content": b64encode(PNG).decode(), "inline": True},
            {"filename": "invite.ics", "text": "BEGIN", "content_type": "text/calendar; method=REQUEST"},
        ],
    )
    assert read.parts["from"] == "Shop <hi@shop.example>"
    assert read.headers == {"X-Ref": "{{ event.data.order }}", "In-Reply-To": "<a@b>"}
    assert read.tags == ("orders", "{{ event.data.country }}")
    assert read.attachments == (
        AttachedFile(
            filename="{{ event.data.n }}.pdf",
            content_type="application/pdf",
            content="{{ event.data.pdf }}",
            optional=True,
        ),
        AttachedFile(filename="logo.png", content_type="image/png", content=b64encode(PNG).decode(), cid="logo.png"),
        AttachedFile(filename="invite.ics", content_type="text/calendar; method=REQUEST; charset=utf-8", text="BEGIN"),
    )


FILE = {"filename": "x.pdf", "content": "QUJD"}


@pytest.mark.parametrize(
    "fields,says",
    [
        ({"from": "nobody"}, "steps[0].from: isn't a sender"),
        ({"reply_to": "a@b.c, d@e.f"}, "steps[0].reply_to: isn't a sender"),
        ({"headers": {"From": "a@b.c"}}, "steps[0].headers.From: is written by others: write `from` beside"),
        ({"headers": {"list-unsubscribe": "<x>"}}, "is written by others: leave it out"),
        ({"headers": {"X-SES-Tags": "x"}}, "is written by others"),
        ({"headers": {"X A": "x"}}, "not a header's name"),
        ({"headers": {"X-A": "x", "x-a": "y"}}, "stands there twice"),
        ({"headers": {"X-A": "x\nBcc: eve@example.com"}}, "has a line break"),
        ({"headers": {"X-A": "{{ x | nope }}"}}, "unknown filter"),
        ({"headers": {f"X-{n}": "x" for n in range(21)}}, "at most 20"),
        ({"tags": ["two words"]}, "a tag has letters, digits"),
        ({"tags": [7]}, "expected a text"),
        ({"tags": ["a"] * 11}, "1 to 10 are allowed"),
        ({"attachments": [{"filename": "x.pdf"}]}, "either `content` (base64) or `text`"),
        ({"attachments": [{**FILE, "text": "x"}]}, "either `content` (base64) or `text`"),
        ({"attachments": [{"content": "QUJD"}]}, "`filename` is missing"),
        ({"attachments": [{**FILE, "content": "not base64!"}]}, "attachments[0].content: isn't base64"),
        ({"attachments": [{**FILE, "content_type": "pdf"}]}, "not a content type"),
        ({"attachments": [{**FILE, "content_type": "a/b\r\nBcc: x"}]}, "not a content type"),
        ({"attachments": [{**FILE, "cid": "a b"}]}, "a cid has letters"),
        ({"attachments": [{**FILE, "filename": "a b.pdf", "inline": True}]}, "needs a cid"),
        ({"attachments": [{**FILE, "cid": "a"}] * 2}, "the same cid"),
        ({"attachments": [{**FILE, "url": "https://x.example/a.pdf"}]}, "unknown key"),
        ({"attachments": [{"filename": "x.png", "file": "x.png"}]}, "no files are read here"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(WorkflowErrors) as caught:
        parse(plain(**fields))
    assert says in str(caught.value)


def test_a_preheader_needs_html() -> None:
    with pytest.raises(WorkflowErrors, match="belongs into HTML"):
        parse({"key": "o", "on": ["o"], "steps": [{"channel": "email", "subject": "s", "text": "t", "preheader": "p"}]})


def test_other_channels_have_none_of_it() -> None:
    for key, value in (("from", "a@b.c"), ("headers", {"X-A": "x"}), ("tags", ["x"]), ("attachments", [FILE])):
        with pytest.raises(WorkflowErrors, match=f"{key}: unknown key"):
            parse({"key": "o", "on": ["o"], "steps": [{"channel": "in_app", "title": "t", key: value}]})


def test_a_file_beside_the_workflow_becomes_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img/logo.png").write_bytes(PNG)
    (tmp_path / "order.yaml").write_text(
        "key: order\non: [o]\nsteps:\n  - channel: email\n    subject: s\n"
        '    html: <img src="cid:logo">\n    attachments:\n      - { file: img/logo.png, cid: logo }\n'
    )
    (loaded,) = load_folder(tmp_path)
    assert loaded.workflow.steps[0].attachments == (
        AttachedFile(filename="logo.png", content_type="image/png", content=b64encode(PNG).decode(), cid="logo"),
    )
    assert parse(loaded.plain) == loaded.workflow


@pytest.mark.parametrize(
    "name,says",
    [
        ("../secret.pdf", "is outside the folder"),
        ("/etc/passwd", "is outside the folder"),
        ("none.pdf", "is missing"),
        ("big.pdf", "has over 400,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why_and_where(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "big.pdf").write_bytes(bytes(400_001))
    (tmp_path / "order.yaml").write_text(
        "key: order\non: [o]\nsteps:\n  - channel: email\n    subject: s\n    text: t\n"
        f"    attachments:\n      - file: {name}\n"
    )
    with pytest.raises(WorkflowErrors, match=f"order.yaml:8: .*{says}"):
        load_folder(tmp_path)
