"""The parts a step may have on each channel, and the check that every one of them can be compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from clarion.model.words import Channel
from clarion.templates.liquid import MAX_SOURCE, BrokenTemplate, check, compiled
from clarion.templates.mjml import html_of
from clarion.templates.plain import text_of
from clarion.workflows.problems import Path, Report
from clarion.workflows.push_options import read_push_options
from clarion.workflows.sections import NO_NUL, Section, line_of_nul

#: Parts that may stand in a file of their own.
FILES = ("html", "mjml", "text")
_MAX_LINE = 10_000
_FILE_NAME = re.compile(r"[\w./\\-]+\.(mjml|html?|txt|text|liquid)")


class Content(NamedTuple):
    """What a channel shows: its parts, and groups of which at least one must be there."""

    parts: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]


_TITLE_OR_BODY = (("title", "body"),)
CONTENT: dict[Channel, Content] = {
    Channel.EMAIL: Content(("subject", *FILES, "from", "reply_to", "preheader"), (("subject",), FILES)),
    Channel.SMS: Content(("body",), (("body",),)),
    Channel.PUSH: Content(("title", "body", "action_url"), _TITLE_OR_BODY),
    Channel.WEB_PUSH: Content(("title", "body", "action_url"), _TITLE_OR_BODY),
    Channel.IN_APP: Content(("title", "body", "action_url"), _TITLE_OR_BODY),
    Channel.CHAT: Content(("title", "body", "action_url"), (("body",),)),
    Channel.WEBHOOK: Content(("body",), ()),  # without a body it sends the event itself
}


def read_parts(section: Section, channel: Channel, *, whole: bool = True) -> dict[str, str]:
    """The parts of a step, each compiled once to see that it can be. `whole`: what the channel needs must be there."""
    content = CONTENT[channel]
    report, before, parts = section.report, len(section.report.problems), {}
    for part in content.parts:
        source = section.text(part, limit=MAX_SOURCE if part in FILES else _MAX_LINE)
        if source is not None:
            parts[part] = source
            check_source(source, (*section.path, part), report, part)
    if "html" in parts and "mjml" in parts:
        section.add("html", "an e-mail has html or mjml, not both: leave one out")
    if whole and "preheader" in parts and "html" not in section and "mjml" not in section:
        section.add("preheader", "belongs into HTML: add html or mjml")
    for part, source in read_push_options(section, channel).items():
        parts[part] = source
        check_source(source, (*section.path, *part.split(".", 1)), report)
    for group in content.needs if whole else ():
        if not any(part in section for part in group):
            section.add(None, f"a step for {channel} without content: add {' or '.join(group)}")
    if report.templates and len(report.problems) == before and "text" not in parts:
        _check_derived_text(parts, section)
    return parts


def check_source(source: str, path: Path, report: Report, part: str = "") -> None:
    """Reports why a template can't be compiled, with its line."""
    if not report.templates:
        return
    if "\0" in source:
        report.add(path, NO_NUL, text_line=line_of_nul(source))
        return
    try:
        check(source)
        if part == "mjml":
            check(html_of(source))
    except BrokenTemplate as broken:
        report.add(path, broken.message, text_line=broken.line)


def _check_derived_text(parts: Mapping[str, str], section: Section) -> None:
    html = html_of(parts["mjml"]) if "mjml" in parts else parts.get("html", "")
    try:
        compiled(text_of(html), False)
    except BrokenTemplate as broken:
        section.add(None, f"no plain text can be made of the HTML ({broken.message}): add `text`")


def names_file(text: str) -> bool:
    """Whether a part's value is the name of a file rather than a template."""
    return bool(_FILE_NAME.fullmatch(text))


def text_paths(plain: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """Every text of a plain workflow and its locales that may name a file: path, mapping, key."""
    todo: list[tuple[Path, Any]] = [(("steps",), plain.get("steps"))]
    locales = plain.get("locales")
    for locale, texts in locales.items() if isinstance(locales, dict) else ():
        todo.append((("locales", locale, "steps"), texts.get("steps") if isinstance(texts, dict) else None))
    for path, steps in todo:
        entries = enumerate(steps) if isinstance(steps, list) else steps.items() if isinstance(steps, dict) else ()
        for key, step in entries:
            for part in FILES:
                if isinstance(step, dict) and isinstance(step.get(part), str):
                    yield (*path, key, part), step, part
