"""Reads what an email step has besides its parts: `headers`, `tags`, `attachments`.

    headers: { X-Entity-Ref-ID: "{{ event.data.order }}" }
    tags: [orders, "{{ event.data.country }}"]
    attachments:
      - { filename: "invoice-{{ event.data.number }}.pdf", content: "{{ event.data.pdf }}" }   # base64
      - { filename: invite.ics, content_type: "text/calendar; method=REQUEST", text: "BEGIN:VCALENDAR ..." }
      - { file: logo.png, cid: logo }                                                          # <img src="cid:logo">

A `file` stands beside the workflow; `clarion.workflows.files` puts its content in its place. There is no `url`: what a
mail holds is known when its event is accepted, and nothing is fetched for it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from clarion.model.mail import may_set, sender_of
from clarion.model.workflow import AttachedFile
from clarion.templates.liquid import MAX_SOURCE
from clarion.templates.mail import decoded, is_static
from clarion.workflows.problems import Path
from clarion.workflows.sections import Section, kind_of
from clarion.workflows.texts import check_source

MAX_HEADERS = 20
MAX_TAGS = 10  # SendGrid and Mailgun take no more
MAX_ATTACHMENTS = 20
#: Bytes of a file beside the workflow. It becomes part of the workflow, which is stored and kept in memory.
MAX_FILE = 400_000
_MAX_STATIC = MAX_FILE * 4 // 3 + 4

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,75}")
#: What Clarion writes besides the mail's own headers.
_UNSUBSCRIBING = ("list-unsubscribe", "list-unsubscribe-post")
_MENDS = {
    **dict.fromkeys(("from", "sender"), "write `from` beside `subject`"),
    "reply-to": "write `reply_to` beside `subject`",
    "keywords": "write `tags`",
}
_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,80}"
_CONTENT_TYPE = re.compile(rf'{_WORD}/{_WORD}( *; *{_WORD}=({_WORD}|"[A-Za-z0-9 _.:+-]*"))*')
_CID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: By the end of the name; all others are application/octet-stream.
_TYPES = {
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif",
    "html": "text/html",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "pkpass": "application/vnd.apple.pkpass",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "vcf": "text/vcard",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "zip": "application/zip",
}


def check_addresses(section: Section, parts: dict[str, str]) -> None:
    """Reports a `from` or `reply_to` without Liquid that is no sender."""
    for part in ("from", "reply_to"):
        if part in parts and is_static(parts[part]):
            try:
                sender_of(parts[part])
            except ValueError:
                section.add(part, "isn't a sender: write it as name@example.com or Name <name@example.com>")


def read_headers(section: Section) -> dict[str, str]:
    """The headers by name, each a template."""
    headers: dict[str, str] = {}
    inner = section.section("headers")
    if inner is None:
        return headers
    if len(inner) > MAX_HEADERS:
        inner.add(None, f"has {len(inner)} headers: at most {MAX_HEADERS} are allowed")
    for name in list(inner)[:MAX_HEADERS]:
        value = inner.text(name, limit=1_000)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            inner.add(str(name), "not a header's name: use letters, digits and - only, a letter first")
        elif not may_set(name) or name.lower() in _UNSUBSCRIBING:
            inner.add(name, f"is written by others: {_MENDS.get(name.lower(), 'leave it out')}")
        elif name.lower() in map(str.lower, headers):
            inner.add(name, "stands there twice: leave one out")
        elif value is not None:
            if re.search(r"[\r\n]", value.strip()):
                inner.add(name, "has a line break: a header is one line")
            headers[name] = value.strip()
            check_source(value, (*inner.path, name), inner.report)
    return headers


def read_tags(section: Section) -> tuple[str, ...]:
    """The tags, each a template."""
    tags = []
    for path, tag in section.items("tags", MAX_TAGS):
        if not isinstance(tag, str) or not tag.strip():
            section.report.add(path, f"expected a text, found {kind_of(tag) if tag != '' else 'nothing'}")
        elif is_static(tag) and not _TAG.fullmatch(tag):
            section.report.add(path, "a tag has letters, digits, _ and - only, at most 64 of them")
        else:
            check_source(tag, path, section.report)
            tags.append(tag)
    return tuple(tags)


def read_attachments(section: Section) -> tuple[AttachedFile, ...]:
    """The files."""
    files = [_read_file(entry) for entry in section.sections("attachments", MAX_ATTACHMENTS)]
    found = tuple(file for file in files if file is not None)
    cids = [file.cid for file in found if file.cid]
    if len(set(cids)) < len(cids):
        section.add("attachments", "two of them have the same cid: each needs its own")
    return found


def _read_file(section: Section) -> AttachedFile | None:
    filename = section.text("filename", limit=300)
    content, text = section.text("content", limit=_MAX_STATIC), section.text("text", limit=MAX_SOURCE)
    if section.raw("file") is not None:
        section.add("file", "no files are read here: put the content, in base64, as `content`")
    elif ("content" in section) == ("text" in section):
        section.add(None, "a file has either `content` (base64) or `text`, or names a `file` beside the workflow")
    section.require("filename", "name the file, for example filename: invoice.pdf")
    mend = "not a content type: write it like application/pdf or text/calendar; method=REQUEST"
    content_type = section.text("content_type", pattern=_CONTENT_TYPE, mend=mend)
    cid = _read_cid(section, filename or "")
    optional = section.flag("optional", False)
    section.close()
    for key, source in (("filename", filename), ("text", text), ("content", content)):
        if source is not None and not (key == "content" and _is_base64(section, source)):
            check_source(source, (*section.path, key), section.report)
    if filename is None or (content is None) == (text is None):
        return None
    return AttachedFile(
        filename=filename,
        content_type=_type_of(filename, content_type, text is not None),
        content=content,
        text=text,
        cid=cid,
        optional=optional,
    )


def _is_base64(section: Section, content: str) -> bool:
    """Whether the content is a file itself and no template; reports what is neither."""
    if not is_static(content):
        return False
    if section.report.templates:  # what was accepted once is not looked at again
        try:
            decoded(content)
        except ValueError:
            section.add("content", "isn't base64: encode the file, or write `text` for a text")
    return True


def _read_cid(section: Section, filename: str) -> str | None:
    inline = section.flag("inline", False)
    mend = 'a cid has letters, digits, . _ and - only: the HTML shows it by <img src="cid:logo">'
    cid = section.text("cid", pattern=_CID, mend=mend)
    if cid is None and inline and "cid" not in section:
        if _CID.fullmatch(filename):
            return filename
        section.add("inline", 'needs a cid, by which the HTML shows it: cid: logo for <img src="cid:logo">')
    return cid


def _type_of(filename: str, said: str | None, is_text: bool) -> str:
    ending = filename.rpartition(".")[2].strip().lower()
    kind = said or _TYPES.get(ending, "text/plain" if is_text else "application/octet-stream")
    return f"{kind}; charset=utf-8" if is_text and "charset" not in kind.lower() else kind


def named_files(plain: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The attachments of a plain workflow that name a file: path and mapping."""
    steps = plain.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        files = step.get("attachments") if isinstance(step, dict) else None
        for place, file in enumerate(files if isinstance(files, list) else ()):
            if isinstance(file, dict) and isinstance(file.get("file"), str):
                yield ("steps", index, "attachments", place), file


def put_in(file: dict[str, Any], content: bytes) -> None:
    """Makes an attachment that named a file hold it."""
    name = file.pop("file")
    file.setdefault("filename", re.split(r"[/\\]", name)[-1])
    file["content"] = b64encode(content).decode("ascii")
