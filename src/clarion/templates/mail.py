"""What an email has besides its parts: headers, tags and attachments, rendered for one recipient and checked.

What can't stand in a mail ends here, before any provider sees it: a line break in a header, an address that is none, a
file that isn't base64. No reason repeats a value.
"""

from __future__ import annotations

import re
from base64 import b64decode
from functools import lru_cache
from typing import Any, NamedTuple

from clarion.model.delivery import Attachment
from clarion.model.workflow import AttachedFile, Step, Workflow
from clarion.sandbox.child import at
from clarion.templates.liquid import ENDLESS, Scope, Slow, compiled
from clarion.templates.rendering import RenderFailed, Unfit, one_line, reason

#: Characters of a rendered header's value; it must stay one header of a size that every mail server takes.
MAX_HEADER = 900
MAX_TAG = 64
MAX_FILENAME = 150

_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_IN_FILENAME = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f\x85\u2028\u2029]+')


class Extras(NamedTuple):
    """Headers, tags and attachments of one email."""

    headers: dict[str, str]
    tags: tuple[str, ...]
    attachments: tuple[Attachment, ...]


_NOTHING = Extras({}, (), ())


def render_extras(workflow: Workflow, step: Step, scope: Scope, work: int = ENDLESS) -> Extras:
    """What the step's email has besides its parts. A header or a tag that comes out empty is left out.

    Raises RenderFailed; Slow if one of them is more than so much work.
    """
    if not (step.headers or step.tags or step.attachments):
        return _NOTHING
    place = ""
    if work == ENDLESS:
        at("headers, tags and attachments")
    try:
        headers = {}
        for name, source in step.headers.items():
            place = f"headers.{name}"
            if value := _header(compiled(source, False).render(scope, work)):
                headers[name] = value
        place = "tags"
        tags = (_tag(compiled(source, False).render(scope, work)) for source in step.tags)
        kept = tuple(dict.fromkeys(tag for tag in tags if tag))
        files = []
        for index, file in enumerate(step.attachments):
            place = f"attachments[{index}]"
            if (made := _attachment(file, scope, work)) is not None:
                files.append(made)
    except Slow:
        raise
    except Exception as error:
        raise RenderFailed(workflow.key, step, place, reason(error)) from error
    return Extras(headers, kept, tuple(files))


def shown_extras(extras: Extras) -> dict[str, Any]:
    """The same for somebody to look at: files without their content, and nothing that isn't there."""
    files = [shown_file(file) for file in extras.attachments]
    shown = {"headers": extras.headers, "tags": list(extras.tags), "attachments": files}
    return {name: value for name, value in shown.items() if value}


def shown_file(file: Attachment) -> dict[str, Any]:
    """A file for somebody to look at."""
    return {"filename": file.filename, "content_type": file.content_type, "size": len(file.content), "cid": file.cid}


def _header(text: str) -> str:
    value = text.strip()
    if _BREAKS.search(value):
        raise Unfit("a header can't hold a line break or another control character")
    if len(value) > MAX_HEADER:
        raise Unfit(f"a header of {len(value)} characters: at most {MAX_HEADER} are allowed")
    return value


def _tag(text: str) -> str:
    return _NOT_IN_TAG.sub("-", text.strip()).strip("-")[:MAX_TAG]


def _attachment(file: AttachedFile, scope: Scope, work: int) -> Attachment | None:
    name = one_line(compiled(file.filename, False).render(scope, work))
    name = _NOT_IN_FILENAME.sub("_", name).strip(" .")[:MAX_FILENAME]
    if not name:
        raise Unfit("its filename is empty")
    if file.text is not None:
        content = compiled(file.text, False).render(scope, work).encode("utf-8", "replace")
    else:
        source = file.content or ""
        content = decoded(source if is_static(source) else compiled(source, False).render(scope, work))
    if not content.strip():
        if file.optional:
            return None
        raise Unfit("it is empty (a file that may be missing says optional: true)")
    return Attachment(filename=name, content_type=file.content_type, content=content, cid=file.cid)


def is_static(source: str) -> bool:
    """Whether a source is a text without any Liquid."""
    return "{{" not in source and "{%" not in source


@lru_cache(maxsize=64)  # the same file goes to all recipients of an event
def decoded(text: str) -> bytes:
    """The bytes behind base64; blanks and line ends don't count. Raises Unfit."""
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise Unfit("its content isn't base64") from None
