"""Reads the steps of a workflow: channels with their texts, and waits."""

from __future__ import annotations

import msgspec

from clarion.model import conditions
from clarion.model.words import Channel
from clarion.model.workflow import Condition, Digest, Step
from clarion.workflows.digests import read_step_digest
from clarion.workflows.mail_steps import check_addresses, read_attachments, read_headers, read_tags
from clarion.workflows.sections import MAX_DURATION, Section
from clarion.workflows.texts import read_parts

MAX_STEPS = 50
CHANNELS = tuple(str(channel) for channel in Channel)


def read_steps(section: Section, digest: Digest | None) -> tuple[Step, ...]:
    """The steps of a workflow; those with problems are left out."""
    if not section.require("steps", "list what to send, for example steps: [{channel: in_app, title: Hello}]"):
        return ()
    found = [_read_step(entry, digest) for entry in section.sections("steps", MAX_STEPS)]
    steps = tuple(step for step in found if step is not None)
    if sum(step.wait or 0 for step in steps) > MAX_DURATION:
        section.add("steps", "wait for more than 30 days in all: the event's data isn't kept longer")
    if len(steps) == len(found) and steps and steps[-1].wait is not None:
        section.report.add((*section.path, "steps", steps[-1].index), "a wait as the last step: nothing comes after it")
    return steps


def _read_step(section: Section, digest: Digest | None) -> Step | None:
    if ("channel" in section) == ("wait" in section):
        section.add(None, "a step has either a `channel` or a `wait`")
        return None
    return _read_wait(section) if "wait" in section else _read_channel(section, digest)


def _index(section: Section) -> int:
    index = section.path[-1]
    assert isinstance(index, int)
    return index


def _read_wait(section: Section) -> Step | None:
    wait = section.duration("wait")
    unless = section.choice("unless", ("seen", "read", "delivered"))
    section.close()
    return Step(index=_index(section), wait=wait, unless=unless) if wait else None


def _read_channel(section: Section, digest: Digest | None) -> Step | None:
    name = section.choice("channel", CHANNELS)
    if name is None:
        return None
    if section.raw("unless") is not None:
        section.add("unless", "belongs to a wait: put {wait: 10m, unless: seen} before this step")
    own_digest, off = read_step_digest(section, digest)
    step = Step(
        index=_index(section),
        channel=Channel(name),
        when=read_when(section),
        digest=own_digest,
        digest_off=off,
        parts=read_parts(section, Channel(name)),
    )
    if step.channel is Channel.EMAIL:
        step = _with_extras(step, section)
    section.close()
    return step


def _with_extras(step: Step, section: Section) -> Step:
    check_addresses(section, step.parts)
    return msgspec.structs.replace(
        step, headers=read_headers(section), tags=read_tags(section), attachments=read_attachments(section)
    )


def read_when(section: Section) -> Condition | None:
    """The condition under `when`, of a workflow or a step."""
    inner = section.section("when")
    if inner is None:
        return None
    whole = {key: inner.raw(key) for key in inner}
    for key, value in whole.items():  # one by one, so that every fault is found, at its own line
        try:
            conditions.parse({key: value})
        except ValueError as error:
            inner.add(key, str(error))
            whole = {}
    return conditions.parse(whole)
