"""Reads a workflow from its plain form into a `Workflow`, or says all that is wrong with it.

The plain form is what the YAML or JSON says, with the texts inline. It is what is stored and compared: `canonical` and
`content_hash` know it apart from the order of its keys. No files are read here; `clarion.workflows.files` makes what
stands in files self-contained first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from clarion.clock import DAY
from clarion.model.words import Channel, OnLimit, Priority
from clarion.model.workflow import MOST_WINDOWS, UNCAPPED, ChannelDefault, Dedupe, Window, Workflow
from clarion.workflows.digests import read_digest
from clarion.workflows.locales import read_locales
from clarion.workflows.problems import Path, Place, Report
from clarion.workflows.schema import compile_schema
from clarion.workflows.sections import MAX_DURATION, Section, kind_of, meant
from clarion.workflows.steps import read_steps, read_when
from clarion.workflows.texts import check_source, names_file, text_paths
from clarion.workflows.windows import read_window

MAX_EVENT_TYPES = 50
MAX_WINDOWS = 50
MAX_CAP = 100_000
MAX_DEPTH = 40
MAX_SIZE = 1_000_000

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_KEY_MEND = "use letters, digits and _ . : - only, a letter or digit first, at most 100 of them"
_EVENT_TYPE = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")


def parse(plain: object, *, key: str | None = None, places: Mapping[Path, Place] | None = None) -> Workflow:
    """The workflow that a plain mapping says. `key` is the one that a URL names: the mapping's own may be left out.

    `places` tells where the values stand in files. Raises WorkflowErrors with every problem.
    """
    report = Report(places)
    _check_form(plain, report)
    report.settle()
    assert isinstance(plain, dict)
    if key is not None and plain.get("key") is None:
        plain = {**plain, "key": key}
    workflow = _read(Section(report, plain))
    if key is not None and workflow.key != key:
        report.add(("key",), f"the key is '{key}' here: write that, or leave it out")
    if places is None:
        _refuse_file_names(plain, report)
    report.settle()
    return workflow


def restore(plain: Mapping[str, Any]) -> Workflow:
    """The workflow that a stored plain form says. What was accepted once stays accepted, whatever has become stricter.

    Its templates are compiled when they are first rendered, its schema when data is first held against it.
    """
    return _read(Section(Report(templates=False), plain))


def canonical(plain: Mapping[str, Any]) -> bytes:
    """The plain form as JSON with sorted keys: the same for the same content."""
    return msgspec.json.encode(plain, order="sorted")


def content_hash(plain: Mapping[str, Any]) -> bytes:
    """16 bytes that tell the content of a plain form, the order of keys apart."""
    return blake2b(canonical(plain), digest_size=16).digest()


def _check_form(plain: object, report: Report) -> None:
    """Refuses what can't be stored or would take long to read."""
    if not isinstance(plain, dict):
        report.add((), f"a workflow is a mapping, found {kind_of(plain)}")
    elif _depth(plain) > MAX_DEPTH:
        report.add((), f"is nested over {MAX_DEPTH} deep")
    else:
        try:
            if len(canonical(plain)) > MAX_SIZE:
                report.add((), f"is too large: at most {MAX_SIZE:,} bytes, its templates included")
        except ValueError:
            report.add((), "holds half a character (a lone surrogate): write whole ones")


def _depth(value: object) -> int:
    """How deep lists and mappings are nested, found without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _read(section: Section) -> Workflow:
    section.require("key", "name the notification type, for example key: comment_reply")
    digest = read_digest(section)
    names, steps = read_locales(section, read_steps(section, digest))
    key = section.text("key", pattern=_KEY, mend=_KEY_MEND) or ""
    workflow = Workflow(
        key=key,
        name=section.text("name") or key,
        names=names,
        enabled=section.flag("enabled", True),
        on=_read_on(section),
        category=section.text("category", pattern=_KEY, mend=_KEY_MEND),
        priority=Priority[section.choice("priority", Priority._member_names_) or "normal"],
        when=read_when(section),
        strategy=section.choice("strategy", ("all", "first_available")) or "all",
        ignores_opt_out=section.flag("ignores_opt_out", False),
        expires_after=section.duration("expires_after"),
        on_unknown=section.choice("on_unknown", ("resend", "hold")) or "resend",
        data_schema=_read_schema(section),
        preferences=_read_preferences(section),
        quiet_hours=section.choice("quiet_hours", ("defer", "drop", "ignore")) or "defer",
        send_windows=_read_windows(section),
        dedupe=_read_dedupe(section),
        digest=digest,
        failover_after=section.duration("failover_after"),
        steps=steps,
    )
    section.close()
    _check_lengths(section, workflow)
    return workflow


def _check_lengths(section: Section, workflow: Workflow) -> None:
    """Refuses digests and waits that end when what they hold back is of no use, or gone."""
    expires = workflow.expires_after or 2 * MAX_DURATION  # more than can be written
    waited = 0
    for step in workflow.steps:
        waited += step.wait or 0
        if step.channel is not None and waited >= expires:
            section.report.add(("steps", step.index), "comes after waits as long as `expires_after`: never sent")
    digests = [(("digest",), workflow.digest), *((("steps", s.index, "digest"), s.digest) for s in workflow.steps)]
    for path, digest in digests:
        if digest is None:
            continue
        if digest.window >= expires:
            section.report.add(path, "gathers for as long as `expires_after`: all would expire before it goes out")
        if digest.min_items > 1 and (digest.max_window or digest.window) * MOST_WINDOWS > MAX_DURATION:
            most = MAX_DURATION // MOST_WINDOWS // DAY
            mend = f"with min_items it waits for up to {MOST_WINDOWS} windows: at most {most}d each"
            section.report.add(path, mend)


def _read_on(section: Section) -> tuple[str, ...]:
    section.require("on", "list the event types that start it, for example on: [comment.created]")
    types: dict[str, None] = {}
    for path, name in section.items("on", MAX_EVENT_TYPES):
        if not isinstance(name, str) or not _EVENT_TYPE.fullmatch(name):
            section.report.add(path, "not an event type: write a text without blanks, like comment.created")
        elif name in types:
            section.report.add(path, f"{name} stands there twice: leave one out")
        else:
            types[name] = None
    return tuple(types)


def _read_schema(section: Section) -> dict[str, Any] | None:
    schema = section.section("data_schema")
    if schema is None:
        return None
    if section.report.templates and section.read("data_schema", compile_schema) is None:
        return None
    value: dict[str, Any] = section.raw("data_schema")
    return value


def _read_preferences(section: Section) -> dict[Channel, ChannelDefault]:
    read: dict[Channel, ChannelDefault] = {}
    inner = section.section("preferences")
    channels = [str(channel) for channel in Channel]
    if inner is None:
        return read
    for channel in inner:
        if channel not in channels:
            inner.add(str(channel), f"unknown channel: {meant(channel, channels)}", code="unknown_field")
        elif (said := inner.section(channel)) is not None:
            on_limit = said.choice("on_limit", [str(word) for word in OnLimit])
            read[Channel(channel)] = ChannelDefault(
                enabled=said.flag("enabled", True),
                max_per_hour=_cap(said, "max_per_hour"),
                max_per_day=_cap(said, "max_per_day"),
                on_limit=OnLimit(on_limit) if on_limit else None,
            )
            said.close()
    return read


def _cap(said: Section, key: str) -> int | None:
    if said.says_nothing(key) and said.report.templates:
        said.add(key, 'null says nothing: write a whole number of 1 or more, "none" for no cap, or leave the key out')
    return UNCAPPED if said.raw(key) == "none" else said.whole(key, 1, MAX_CAP)


def _read_windows(section: Section) -> tuple[Window, ...]:
    windows = [read_window(entry) for entry in section.sections("send_windows", MAX_WINDOWS)]
    return tuple(window for window in windows if window is not None)


def _read_dedupe(section: Section) -> Dedupe | None:
    inner = section.section("dedupe")
    if inner is None:
        return None
    inner.require("key", 'say what makes two events the same, for example key: "{{ event.data.comment_id }}"')
    inner.require("window", "say for how long, for example window: 10m")
    key = inner.text("key", limit=1_000)
    window = inner.duration("window")
    inner.close()
    if key is not None:
        check_source(key, (*inner.path, "key"), inner.report)
    return Dedupe(key=key, window=window) if key and window else None


def _refuse_file_names(plain: dict[str, Any], report: Report) -> None:
    for path, step, part in text_paths(plain):
        if names_file(step[part]):
            report.add(path, "names a file, and no files are read here: put the template itself")
